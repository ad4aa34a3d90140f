"""The order in which it happens."""

from __future__ import annotations

from evmbilling.cli.demo import balancing, paying, refusing, renewing, setting_up, transfers
from evmbilling.cli.demo.checks import Step
from evmbilling.cli.demo.world import DEPTH

SHOWN = {
    "order": paying.show_order,
    "receipt": paying.show_receipt,
    "subscription": paying.show_subscription,
    "access": paying.show_access,
    "event": paying.show_event,
    "completed": transfers.show_parts,
    "pulled": renewing.show_pulled,
    "books": balancing.show_books,
}
STEPS = tuple(
    Step(key=key, title=title, act=act, verify=verify, show=SHOWN.get(key))
    for key, title, act, verify in (
        ("chain", "Start Anvil", setting_up.start_chain, setting_up.verify_chain),
        ("token", "Deploy a token of six decimals", setting_up.place_token, setting_up.verify_token),
        ("contract", "Deploy the Checkout contract", setting_up.place_contract, setting_up.verify_contract),
        ("database", "Migrate a SQLite file", setting_up.migrate, setting_up.verify_database),
        (
            "catalogue",
            "Create network, gateway, contract, plan",
            setting_up.fill_catalogue,
            setting_up.verify_catalogue,
        ),
        ("checkout", "Check out twice: one order", paying.check_out_twice, paying.verify_checkout),
        ("payment", "A wallet sends the payload it was given", paying.pay, paying.verify_payment),
        (
            "waiting",
            f"{DEPTH - 1} of {DEPTH} confirmations: no access yet",
            paying.almost_confirm,
            paying.verify_waiting,
        ),
        ("order", f"{DEPTH} confirmations: the order is paid", paying.confirm, paying.verify_order),
        ("receipt", "The receipt", paying.nothing, paying.verify_receipt),
        ("subscription", "The subscription", paying.nothing, paying.verify_subscription),
        ("access", "Access is open", paying.nothing, paying.verify_access),
        ("event", "The event for the host", paying.nothing, paying.verify_event),
        ("reorg", "Reorganised away: access is gone", paying.take_away, paying.verify_reorg),
        ("again", "Mined again in time: access is back", paying.mine_again, paying.verify_again),
        ("fake_token", "Refused: a fake token with the same event", refusing.lie, refusing.verify_lie),
        ("used_reference", "Refused: a used reference", refusing.pay_twice, refusing.verify_twice),
        ("forged_order", "Refused: a forged order", refusing.forge, refusing.verify_forged),
        (
            "changed_order",
            "Found: an order changed in the database",
            refusing.change_row,
            refusing.verify_changed_row,
        ),
        (
            "stolen_key",
            "Refused: our key, another treasury",
            refusing.steal_key,
            refusing.verify_stolen_key,
        ),
        ("undone", "Reorganised away: the order waits again", refusing.undo_theft, refusing.verify_undone),
        ("transfers", "Plain transfers: three wallets sign", transfers.open_rail, transfers.verify_rail),
        ("underpaid", "Too little: no access yet", transfers.pay_too_little, transfers.verify_too_little),
        ("completed", "The missing part: paid", transfers.pay_the_rest, transfers.verify_the_rest),
        ("overpaid", "Too much: paid, the surplus is credit", transfers.pay_too_much, transfers.verify_too_much),
        ("late", "Too late: credit, no access", transfers.pay_too_late, transfers.verify_too_late),
        ("unknown_payer", "From a stranger: a person decides", transfers.pay_unknown, transfers.verify_unknown),
        ("mandate", "A wallet signs a mandate", renewing.give_mandate, renewing.verify_mandate),
        ("forged_mandate", "Refused: a forged mandate", renewing.forge_mandate, renewing.verify_forged_mandate),
        ("pulled", "A month later: pulled", renewing.pull_month, renewing.verify_pulled),
        ("pull_refused", "Allowance revoked: refused", renewing.refuse_next, renewing.verify_refused),
        ("debt", "Paid by hand: access stands", renewing.pay_debt, renewing.verify_debt),
        ("books", "Verified: chain and books, unit for unit", balancing.prove, balancing.verify_books),
    )
)
