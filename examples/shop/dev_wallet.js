// The local chain's wallet, announced as an extension would announce itself (EIP-6963).
(() => {
  const provider = {
    async request({ method, params = [] }) {
      const reply = await fetch("/dev-wallet", { method: "POST", body: JSON.stringify({ method, params }),
        headers: { "Content-Type": "application/json" } });
      const { result, error } = await reply.json();
      if (error) throw Object.assign(new Error(error.message), { code: error.code });
      return result;
    },
    on() {},
  };
  const info = Object.freeze({ uuid: crypto.randomUUID(), name: "the local test wallet", icon: "data:,",
    rdns: "local.test.wallet" });
  const announce = () => window.dispatchEvent(
    new CustomEvent("eip6963:announceProvider", { detail: Object.freeze({ info, provider }) }));
  window.addEventListener("eip6963:requestProvider", announce);
  announce();
})();
