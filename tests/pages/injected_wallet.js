// A wallet in the page, as an extension puts one there: EIP-1193 below EIP-6963, or alone as older ones do. What it answers is decided outside.
(() => {
  const listeners = new Map();
  const provider = {
    async request({ method, params = [] }) {
      const answer = await window.walletAsked(method, params);
      if (answer.error) throw Object.assign(new Error(answer.error.message), { code: answer.error.code });
      return answer.result;
    },
    on(name, told) { listeners.set(name, [...(listeners.get(name) ?? []), told]); },
  };
  window.walletTells = (name, value) => { for (const told of listeners.get(name) ?? []) told(value); };
  if (window.olderWallet) { window.ethereum = provider; return; }
  const info = Object.freeze({ uuid: "350670db-19fa-4704-a166-e52e178b59d2", name: "Test Wallet", icon: "data:,",
    rdns: "org.example.wallet" });
  const announce = () => window.dispatchEvent(
    new CustomEvent("eip6963:announceProvider", { detail: Object.freeze({ info, provider }) }));
  window.addEventListener("eip6963:requestProvider", announce);
  announce();
})();
