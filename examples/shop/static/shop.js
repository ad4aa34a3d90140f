// Fills in the address of the first wallet that announces itself (EIP-6963).
const field = document.getElementById("wallet"), button = document.getElementById("ask");
window.addEventListener("eip6963:announceProvider", ({ detail }) => {
  if (!field || !button.hidden) return;
  button.hidden = false;
  button.addEventListener("click", async () => {
    [field.value] = await detail.provider.request({ method: "eth_requestAccounts" });
  });
});
window.dispatchEvent(new Event("eip6963:requestProvider"));
