// node solc.js INPUT.json OUTPUT.json: standard JSON in, standard JSON out, through files
// (a pipe would cut long answers at 64 KiB). The `solc` package is found through NODE_PATH.
"use strict";
const fs = require("fs");
const solc = require("solc");

const [input, output] = process.argv.slice(2);
const answer = JSON.parse(solc.compile(fs.readFileSync(input, "utf8")));
fs.writeFileSync(output, JSON.stringify({ version: solc.version(), answer }));
