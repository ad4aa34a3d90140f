"""The shop's own tables, in the database in which billing keeps its tables too."""

from __future__ import annotations

from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """What the shop's own migrations look after."""


class User(Base):
    """Somebody who can sign in."""

    __tablename__ = "users"
    name: Mapped[str] = mapped_column(primary_key=True)
    salt: Mapped[bytes]
    password: Mapped[bytes]


class Purchase(Base):
    """What a user has put into the basket, with the order that pays for it.

    ``once`` comes with the form: the same form sent twice is the same purchase.
    """

    __tablename__ = "purchases"
    once: Mapped[str] = mapped_column(primary_key=True)
    user: Mapped[str]
    plan: Mapped[str]
    ledger_id: Mapped[str]
