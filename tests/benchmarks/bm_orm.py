"""The rows of a checkout as mapped classes, and the unit of work that a careful host would write with them."""

from __future__ import annotations

import sqlalchemy as sa
from bm_recording import TABLES, Row
from sqlalchemy.orm import DeclarativeBase, Session, relationship


class Base(DeclarativeBase):
    """Shares the tables of the package, and so their types: equal values make equal rows."""

    metadata = TABLES.metadata


class Network(Base):
    __table__ = TABLES["networks"]


class Gateway(Base):
    __table__ = TABLES["gateways"]


class Contract(Base):
    __table__ = TABLES["contracts"]


class Plan(Base):
    __table__ = TABLES["plans"]


class Customer(Base):
    __table__ = TABLES["customers"]


class Subscription(Base):
    __table__ = TABLES["subscriptions"]
    customer = relationship(Customer)


class Entitlement(Base):
    __table__ = TABLES["entitlements"]
    customer = relationship(Customer)


class Order(Base):
    __table__ = TABLES["payment_transactions"]
    customer = relationship(Customer)
    subscription = relationship(Subscription)


class Key(Base):
    __table__ = TABLES["idempotency_keys"]
    order = relationship(Order)


class Event(Base):
    __table__ = TABLES["outbox"]


class Unsent(Base):
    __table__ = TABLES["unsent_events"]


class QueueItem(Base):
    __table__ = TABLES["finance_queue"]


_LIVE = sa.text("status NOT IN ('ended', 'incomplete_expired')")


def orm_checkout(engine: sa.Engine, rows: dict[str, Row]) -> None:
    """Look up what a checkout looks up and store what it stores; values are given, nothing is computed or signed."""
    customer_row, order, key = rows["customers"], rows["payment_transactions"], rows["idempotency_keys"]
    with Session(engine) as session, session.begin():
        customer = session.get(Customer, customer_row["user_id"], with_for_update={"key_share": True})
        if customer is None:
            customer = Customer(**customer_row | {"event_seq": 0, "version": 1})
            session.add(customer)
            session.flush()
        known = session.get(Key, (key["operation"], key["user_id"], key["key"]))
        newest = sa.select(Plan).where(Plan.slug == order["plan_slug"]).order_by(Plan.version.desc()).limit(1)
        plan = session.scalars(newest).one()
        live = sa.select(Subscription).where(
            Subscription.user_id == customer.user_id,
            Subscription.product_type == plan.product_type,
            Subscription.product_id == plan.product_id,
            _LIVE,
        )
        if known is not None or session.scalars(live).one_or_none() is not None:
            raise AssertionError("the benchmark measures first checkouts")
        network = session.get_one(Network, order["network"])
        gateway = session.get_one(Gateway, plan.gateway_slug)
        contract = session.get_one(Contract, (plan.contract_slug, network.name))
        halted = sa.select(QueueItem).where(QueueItem.subject == f"token:{order['chain_id']}:{order['token']}")
        if session.scalars(halted).all():
            raise AssertionError("the benchmark sells in tokens that are not halted")
        session.add(Subscription(**rows["subscriptions"]))
        session.add(Entitlement(**rows["entitlements"]))
        session.add(Order(**order | {"contract": contract.address, "gateway_slug": gateway.slug}))
        session.add(Key(**key))
        session.add(Event(**rows["outbox"]))
        session.add(Unsent(**rows["unsent_events"]))
        customer.event_seq, customer.version = customer_row["event_seq"], customer_row["version"]
