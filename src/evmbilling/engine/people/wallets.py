"""Wallets: a user proves that an address is theirs, once, by a signed message (EIP-4361)."""

from __future__ import annotations

from datetime import timedelta

from evmbilling.domain.addresses import parse_address
from evmbilling.domain.catalogue.catalogue import Network
from evmbilling.domain.decisions import ConfirmWallet, OpenChallenge, RecordAudit
from evmbilling.domain.identity import parse_opaque, parse_slug
from evmbilling.domain.messages.events import AuditEntry
from evmbilling.domain.people.customers import Customer, Wallet, with_proof
from evmbilling.domain.people.siwe import SignIn, parse_domain, parse_uri, personal_digest
from evmbilling.domain.people.usage import WalletChallenge
from evmbilling.engine.admin.address_marks import address_marks, key_marks
from evmbilling.engine.context import Ports, Runner
from evmbilling.engine.reading.reader import network_and_provider
from evmbilling.errors import ChallengeRefused, InputError, UnknownNetwork
from evmbilling.ports.provider import Provider
from evmbilling.ports.storage import Unit

CHALLENGE_SECONDS = 600
PURPOSE = "link_wallet"
CONFIRMED = "wallet.confirm"


def challenge_wallet(
    ports: Ports,
    runner: Runner,
    *,
    user_id: str,
    wallet: str,
    network: str,
    domain: str,
    uri: str,
    purpose: str = PURPOSE,
) -> WalletChallenge:
    """Make a message for a wallet to sign; see :meth:`evmbilling.engine.core.Engine.wallet_challenge`."""
    user = parse_opaque(user_id, field="user_id")
    address = parse_address(wallet, field="wallet")
    name = parse_slug(network, field="network")
    host = parse_domain(domain, field="domain")
    now = ports.clock.now().replace(microsecond=0)
    # EIP-4361 allows letters and digits only; 128 bits of randomness as hex.
    nonce = ports.ids.token().encode().hex()

    def work(unit: Unit) -> WalletChallenge:
        found = unit.network(name)
        if found is None:
            raise UnknownNetwork(field="network")
        expires = now + timedelta(seconds=CHALLENGE_SECONDS)
        sign_in = SignIn(
            domain=host,
            uri=parse_uri(uri, host, field="uri"),
            address=address,
            chain_id=found.chain_id,
            nonce=nonce,
            issued_at=now,
            expires_at=expires,
        )
        made = WalletChallenge(
            nonce=nonce,
            user_id=user,
            address=address,
            chain_id=found.chain_id,
            message=sign_in.text(),
            purpose=purpose,
            issued_at=now,
            expires_at=expires,
        )
        unit.lock_customer(Customer(user_id=user, created_at=ports.clock.now()))
        unit.apply([OpenChallenge(made)])
        return made

    return runner.write(work)


def answer_challenge(
    ports: Ports, runner: Runner, *, user_id: str, nonce: str, signature: bytes, purpose: str
) -> WalletChallenge:
    """Use a challenge up and return it if the wallet signed it.

    Raises:
        InputError: of the wrong kind; names which.
        ChallengeRefused: no open challenge of this user and purpose has the nonce, or the signature is another's.
        RpcUnavailable: a contract wallet's chain could not be asked.

    """
    parse_opaque(user_id, field="user_id")
    parse_opaque(nonce, field="nonce")
    if not isinstance(signature, bytes):
        raise InputError("a signature is bytes", field="signature")
    challenge = runner.write(lambda unit: unit.use_challenge(nonce, ports.clock.now()))
    if challenge is None or challenge.user_id != user_id or challenge.purpose != purpose:
        raise ChallengeRefused("there is no open challenge with this nonce", field="nonce")
    digest = personal_digest(challenge.message)
    network, provider = runner.read(lambda unit: _of_chain(ports, unit, challenge.chain_id))
    # Outside any transaction: a contract wallet is asked on its chain.
    if not provider.verify_signature(network, challenge.address, digest, signature):
        raise ChallengeRefused("the signature is not this wallet's", field="signature")
    return challenge


def confirm_wallet(ports: Ports, runner: Runner, *, user_id: str, nonce: str, signature: bytes) -> Wallet:
    """Verify the signature of a challenge; see :meth:`evmbilling.engine.core.Engine.confirm_wallet`."""
    challenge = answer_challenge(ports, runner, user_id=user_id, nonce=nonce, signature=signature, purpose=PURPOSE)
    _, provider = runner.read(lambda unit: _of_chain(ports, unit, challenge.chain_id))
    by_key = provider.is_key_signature(challenge.address, personal_digest(challenge.message), signature)
    proof = Wallet(
        user_id=user_id,
        address=challenge.address,
        confirmed_at=ports.clock.now(),
        chains=None if by_key else (challenge.chain_id,),
    )
    entry = AuditEntry(
        audit_id=ports.ids.new_id(),
        actor=user_id,
        action=CONFIRMED,
        object=f"customer:{user_id}",
        changes={
            "nonce": nonce,
            "wallet": wallet_mark(ports, challenge.address),
            "key": key_marks(ports)[0],
        },
        recorded_at=ports.clock.now(),
    )

    def work(unit: Unit) -> Wallet:
        unit.lock_customer(Customer(user_id=user_id, created_at=ports.clock.now()))
        stored = next((w for w in unit.wallets(user_id) if w.address == proof.address), None)
        wallet = with_proof(stored, proof)
        unit.apply([ConfirmWallet(wallet), RecordAudit(entry)])
        return wallet

    return runner.write(work)


def wallet_mark(ports: Ports, address: str) -> str:
    """Return the fingerprint by which the audit tells wallets apart; it is never erased, and must not name one."""
    return address_marks(ports, address)[0]


def _of_chain(ports: Ports, unit: Unit, chain_id: int) -> tuple[Network, Provider]:
    name = next(n.name for n in unit.networks() if n.chain_id == chain_id)
    return network_and_provider(ports, unit, name)
