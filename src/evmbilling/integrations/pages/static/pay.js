// The checkout page. The server says what is so; the wallet says what the user wants; this page only joins them.
// Wallets: EIP-6963 (discovery), EIP-1193 (requests and errors), EIP-3326 (switching the chain).

const POLL_MS = 2000;
const REJECTED = 4001, UNKNOWN_CHAIN = 4902, ALREADY_ASKING = -32002; // EIP-1193, EIP-3326, MetaMask
// After these nothing was sent (EIP-1193, EIP-1474): declined, not allowed, not supported, not connected, bad request.
const UNSENT = new Set([REJECTED, 4100, 4200, 4900, 4901, -32600, -32601, -32602]);
const CHOSEN = "evmbilling-wallet";
const PATIENCE_MS = 10 * 60 * 1000; // how long a sent payment is waited for before paying again is offered

const root = document.getElementById("pay");
const texts = JSON.parse(document.getElementById("texts").textContent);
const byId = (id) => document.getElementById(id);
const state = { view: JSON.parse(document.getElementById("first").textContent), todo: null, permit: null, wallet: null,
  account: null, chain: null, busy: false, problem: null, providers: new Map() };
// How far the shop's clock is ahead of this device's, which may be wrong: the deadline is the shop's.
const ahead = Date.parse(root.dataset.now) - Date.now();
const kept = "evmbilling-sent-" + state.view.order.ledger_id;

const say = (key, values = {}) =>
  (texts[key] ?? key).replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);

const JSON_HEADERS = { "Content-Type": "application/json" };

async function ask(path, init = {}, base = root.dataset.api) {
  const answer = await fetch(base + root.dataset.token + path, { credentials: "omit", cache: "no-store", ...init });
  const body = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(body.detail), { problem: body });
  return body;
}

// -- what the wallet was asked for, remembered so that a reload does not pay twice

function keep(key, value) {
  try { localStorage.setItem(key, JSON.stringify(value)); } catch { /* private mode */ }
}
function recall(key) {
  try { return JSON.parse(localStorage.getItem(key)); } catch { return null; }
}
function forget() {
  try { localStorage.removeItem(kept); } catch { /* private mode */ }
}
// Written before the wallet is asked, without a hash: whether it sent anything is then known only to the wallet.
function remember(hash) { keep(kept, { hash, at: Date.now() }); }
function remembered() {
  const sent = recall(kept);
  return sent && Date.now() - sent.at < PATIENCE_MS ? sent : null;
}
const sentBefore = () => Boolean(remembered()?.hash);
const maybeSent = () => { const sent = remembered(); return Boolean(sent) && !sent.hash && !state.busy; };

// -- the server

async function look() {
  const before = state.view.order.status;
  state.view = await ask("");
  if (state.view.order.status !== before && state.view.order.next !== "pay") state.problem = null;
  if (state.view.order.next === "pay") {
    state.todo = await ask("/instructions");
    if (state.todo.approval && state.permit === null) state.permit = Boolean((await askPermit()).typed_data);
    if (onlySigned() && !state.permit) state.permit = Boolean((await askPermit()).typed_data);
  }
  await lookAtSent();
}

// A transaction that was sent and failed pays nothing: the wallet's own node knows it first.
async function lookAtSent() {
  const hash = state.view.order.next === "pay" && state.wallet && onChain() ? remembered()?.hash : null;
  if (!hash) return;
  const receipt = await state.wallet.request({ method: "eth_getTransactionReceipt", params: [hash] }).catch(() => null);
  if (receipt && Number(receipt.status) === 0) { forget(); state.problem = say("failed_on_chain"); }
}

async function watch() {
  for (;;) {
    try {
      await look();
      byId("status").removeAttribute("data-stale");
    } catch (error) {
      if (error.problem?.code === "not_found") { state.problem = say("gone"); render(); return; }
      byId("status").setAttribute("data-stale", "true"); // the connection is away: what was last known stays
    }
    render();
    await nap();
  }
}

const sleepers = new Set();

function nap() {
  return new Promise((next) => {
    sleepers.add(next);
    setTimeout(() => { sleepers.delete(next); next(); }, POLL_MS);
  });
}

// Telephones stop the page while the wallet is in front: look at once when people come back.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  for (const next of sleepers) next();
  sleepers.clear();
});

// -- the wallet

window.addEventListener("eip6963:announceProvider", (event) => {
  const { info, provider } = event.detail ?? {};
  if (!info?.uuid || !provider) return;
  const id = String(info.rdns);
  state.providers.set(info.uuid, { name: String(info.name), id, provider });
  if (recall(CHOSEN) === id) comeBack(provider);
  render();
});

// After a reload, without asking: a wallet tells its accounts to pages that it is connected to.
async function comeBack(wallet) {
  const accounts = await wallet.request({ method: "eth_accounts" }).catch(() => []);
  if (!state.wallet && accounts.length) await use(wallet, accounts);
}

function providers() {
  if (state.providers.size === 0 && window.ethereum)
    return [{ name: say("browser_wallet"), id: "", provider: window.ethereum }];
  return [...state.providers.values()];
}

async function connect({ provider, id }) {
  await attempt(async () => {
    await use(provider, await provider.request({ method: "eth_requestAccounts" }));
    keep(CHOSEN, id);
  });
}

async function use(wallet, accounts) {
  state.chain = await wallet.request({ method: "eth_chainId" });
  state.wallet = wallet;
  state.account = accounts[0] ?? null;
  wallet.on?.("accountsChanged", (now) => { state.account = now[0] ?? null; state.problem = null; render(); });
  wallet.on?.("chainChanged", (now) => { state.chain = now; state.problem = null; render(); });
  wallet.on?.("disconnect", () => { state.wallet = null; state.account = null; render(); });
  render();
}

const onChain = () => Number(state.chain) === state.view.chain_id;

async function switchChain() {
  const chainId = "0x" + state.view.chain_id.toString(16);
  await attempt(async () => {
    await state.wallet.request({ method: "wallet_switchEthereumChain", params: [{ chainId }] });
    state.chain = await state.wallet.request({ method: "eth_chainId" });
  });
}

async function transact(payload) {
  return state.wallet.request({ method: "eth_sendTransaction", params: [{ from: state.account, ...payload }] });
}

async function approve() {
  await attempt(async () => {
    await transact(state.todo.approval);
    for (let tries = 0; tries < 60 && state.todo?.approval; tries += 1) {
      byId("status").textContent = say("approving");
      await nap();
      state.todo = await ask("/instructions");
    }
  });
}

async function send() {
  await attempt(async () => {
    await look(); // the last one before money moves
    if (state.view.order.next !== "pay" || !state.todo.payload || state.todo.approval) return;
    await pay(state.todo.payload);
  });
}

async function pay(payload) {
  remember(null);
  try {
    remember(await transact(payload));
  } catch (error) {
    if (UNSENT.has(codeOf(error))) forget();
    throw error;
  }
}

// A signature in the payment, in place of an approval or because the contract takes nothing else: what is signed is
// asked for anew, because a nonce moves on.
async function authorize() {
  await attempt(async () => {
    const { typed_data: typed } = await askPermit();
    await look();
    if (state.view.order.next !== "pay" || !typed) return;
    const params = [state.account, JSON.stringify(typed)];
    const signature = await state.wallet.request({ method: "eth_signTypedData_v4", params });
    const payload = await ask("/authorization", { method: "POST", body: JSON.stringify({ signature }),
      headers: JSON_HEADERS }, root.dataset.page);
    await pay(payload);
  });
}

// Some contracts are paid with a signature and in no other way (ERC-3009, Permit2): then there is no payload before.
const onlySigned = () => state.view.rail === "call" && Boolean(state.todo) && !state.todo.payload;
const signsNow = () => state.permit === true && onlySigned() !== Boolean(state.todo?.approval);

const askPermit = () => ask("/authorization", {}, root.dataset.page);

async function requote() {
  await attempt(async () => {
    const fresh = await ask("/requote", { method: "POST", body: "{}", headers: JSON_HEADERS });
    forget();
    location.replace(root.dataset.page + fresh.token);
  });
}

async function attempt(work) {
  if (state.busy) return;
  state.busy = true;
  state.problem = null;
  render();
  try {
    await work();
  } catch (error) {
    state.problem = explain(error);
  } finally {
    state.busy = false;
    render();
  }
}

const codeOf = (error) => error?.data?.originalError?.code ?? error?.code;

function explain(error) {
  const code = codeOf(error);
  if (error?.problem) return say("problem_" + error.problem.code) === "problem_" + error.problem.code
    ? error.problem.detail : say("problem_" + error.problem.code);
  if (code === REJECTED) return say("rejected");
  if (code === UNKNOWN_CHAIN) return say("unknown_chain", { network: state.view.order.network, chain: state.view.chain_id });
  if (code === ALREADY_ASKING) return say("already_asking");
  return say("wallet_failed", { reason: String(error?.message ?? error).slice(0, 200) });
}

// -- what is shown

const same = (one, other) => (one ?? "").toLowerCase() === (other ?? "").toLowerCase();

function statusText() {
  const { order } = state.view;
  const { have, needed } = order.confirmations;
  if (order.status === "confirming")
    return needed ? say("confirming", { have: Math.min(have, needed), needed }) : say("confirming_tag", { have });
  if (order.next === "pay" && Number(order.seen) > 0) return say("seen");
  if (order.status === "pending" && sentBefore()) return say("sent");
  if (order.status === "partially_paid") return say("partially_paid", parts());
  return say("status_" + order.status);
}

// A transfer can come in parts; what the wallet would be asked for is the whole amount, which is too much then.
const inPart = () => state.view.order.status === "partially_paid" && ["erc20", "deposit"].includes(state.view.rail);

// What was found at the order's own address is paid already, though it counts when it is swept.
function missing() {
  const { amount, received, seen } = state.view.order;
  return BigInt(amount.base_units) - BigInt(received) - BigInt(seen);
}

function parts() {
  const { amount, received } = state.view.order;
  const write = (units) => {
    const digits = String(units).padStart(amount.asset.decimals + 1, "0");
    const whole = digits.slice(0, digits.length - amount.asset.decimals);
    const fraction = digits.slice(digits.length - amount.asset.decimals).replace(/0+$/, "");
    return whole + (fraction && "." + fraction) + " " + amount.asset.symbol;
  };
  return { amount: amount.display, received: write(BigInt(received)), treasury: root.dataset.treasury,
    rest: write(missing()) };
}

function show(id, on) { byId(id).hidden = !on; }

function render() {
  const { order } = state.view;
  const paying = order.next === "pay";
  const status = byId("status");
  const words = statusText();
  if (status.textContent !== words) status.textContent = words; // only what is new is read aloud
  status.classList.toggle("done", order.next === "done");

  const { have, needed } = order.confirmations;
  show("confirmations", order.status === "confirming" && needed);
  if (needed) { byId("confirmations").max = needed; byId("confirmations").value = Math.min(have, needed); }

  show("evidence", Boolean(order.explorer_url));
  if (order.explorer_url) {
    byId("explorer").href = order.explorer_url;
    byId("explorer").textContent = say("explorer");
  }

  const waiting = paying && (sentBefore() || missing() <= 0n);
  const whole = paying && !inPart();
  const connected = state.wallet !== null && state.account !== null;
  const right = connected && (state.view.wallet === null || same(state.account, state.view.wallet));
  const chain = connected && onChain();
  const approval = state.todo?.approval;
  const free = whole && right && chain && !approval;
  const ready = free && Boolean(state.todo?.payload);
  show("steps", paying && !waiting);
  show("other", paying && !waiting);
  show("again", order.next === "checkout_again");
  for (const id of ["transfer", "code"]) if (byId(id)) show(id, whole);
  show("switch", whole && right && !chain);
  show("authorize", whole && right && chain && signsNow() && !maybeSent());
  show("approve", whole && right && chain && Boolean(approval));
  show("send", ready && !maybeSent());
  show("resend", (ready || (free && onlySigned())) && maybeSent());
  renderWallets(whole && !connected);
  for (const id of ["switch", "authorize", "approve", "send", "resend", "requote"]) byId(id).disabled = state.busy;
  renderProblem(connected, right, whole && !waiting);
  renderCountdown();
}

function renderWallets(on) {
  const { order } = state.view;
  const place = byId("wallets");
  place.hidden = !on;
  const found = on ? providers() : [];
  const names = found.map(({ name }) => name).join("\n");
  if (place.dataset.names !== names) {
    place.dataset.names = names;
    place.replaceChildren(...found.map((wallet) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = say("connect", { name: wallet.name });
      button.addEventListener("click", () => connect(wallet));
      return button;
    }));
  }
  for (const button of place.children) button.disabled = state.busy;
  if (inPart()) byId("words").textContent = say(order.address ? "words_rest_deposit" : "words_rest", parts());
  else byId("words").textContent = found.length || state.wallet || order.address ? signing() : say("no_wallet");
}

const signing = () => state.permit && (state.todo?.approval || onlySigned()) ? byId("words").dataset.permit : root.dataset.words;

function renderProblem(connected, right, paying) {
  const chainSays = paying && connected && right
    ? (state.todo?.problems ?? []).filter(({ code }) => code !== "allowance").map(({ code, text }) =>
        texts["problem_" + code] ? say("problem_" + code) : text)
    : [];
  const other = paying && connected && !right ? say("other_account", { wallet: state.view.wallet }) : null;
  const reason = texts["reason_" + state.view.order.reason];
  const asked = paying && maybeSent() ? say("asked_before") : null;
  const said = state.problem ?? other ?? asked ?? chainSays[0] ?? reason ?? null;
  show("problem", Boolean(said));
  if (said && byId("problem").textContent !== said) byId("problem").textContent = said;
}

function renderCountdown() {
  const left = Math.floor((Date.parse(state.view.order.deadline) - Date.now() - ahead) / 1000);
  const on = state.view.order.next === "pay" && left > 0;
  show("countdown", on);
  if (!on) return;
  const days = Math.floor(left / 86400), hours = Math.floor(left / 3600) % 24;
  const minutes = Math.floor(left / 60) % 60, seconds = String(left % 60).padStart(2, "0");
  byId("countdown").textContent = days > 0 ? say("left_days", { days, hours })
    : say("left", { time: (hours ? hours + ":" + String(minutes).padStart(2, "0") : minutes) + ":" + seconds });
}

root.dataset.words = byId("words").textContent;
byId("switch").addEventListener("click", switchChain);
byId("authorize").addEventListener("click", authorize);
byId("approve").addEventListener("click", approve);
byId("send").addEventListener("click", send);
byId("resend").addEventListener("click", () => { forget(); if (onlySigned()) authorize(); else send(); });
byId("requote").addEventListener("click", requote);
window.dispatchEvent(new Event("eip6963:requestProvider"));
setInterval(renderCountdown, 1000);
render();
watch();
