// A wallet library that is not ours: it verifies the challenge, and pays the payload as it was handed out.
const { createRequire } = require("node:module");
const { text } = require("node:stream/consumers");

text(process.stdin).then(async (given) => {
  const { library, url, key, challenge, approval, payload } = JSON.parse(given);
  const found = createRequire(library + "/");
  const { createWalletClient, createPublicClient, http, defineChain, verifyTypedData, recoverTypedDataAddress } = found("viem");
  const { privateKeyToAccount } = found("viem/accounts");
  const { domain, types, primaryType, message } = challenge.typed_data;
  const typed = { domain, types, primaryType, message, signature: challenge.signature };
  const account = privateKeyToAccount(key);
  const chain = defineChain({ id: Number(payload.chainId), name: "local", rpcUrls: { default: { http: [url] } },
    nativeCurrency: { name: "Ether", symbol: "ETH", decimals: 18 } });
  const wallet = createWalletClient({ account, chain, transport: http(url) });
  const node = createPublicClient({ chain, transport: http(url) });
  const hashes = [];
  let nonce = await node.getTransactionCount({ address: account.address });
  for (const call of [approval, payload].filter(Boolean)) {
    hashes.push(await wallet.sendTransaction({
      to: call.to, value: BigInt(call.value), data: call.data, gas: BigInt(call.gas), nonce }));
    nonce += 1;
  }
  process.stdout.write(JSON.stringify({
    signer: await recoverTypedDataAddress(typed),
    valid: await verifyTypedData({ ...typed, address: challenge.signer }),
    changed: await verifyTypedData({ ...typed, address: challenge.signer, message: { ...message, amount: BigInt(message.amount) + 1n } }),
    hashes }));
}).catch((error) => { console.error(error); process.exit(1); });
