#!/bin/sh
set -e
cat >s.js <<'E'
const http = require("http");
const crypto = require("crypto");
const server = http.createServer((request, response) =>
    response.end(crypto.createHash("sha256").update(request.url).digest("hex")));
const get = (path) => new Promise((resolve) =>
    http.get({ port: 8123, host: "127.0.0.1", path }, (response) => {
        response.resume();
        response.on("end", resolve);
    }));
server.listen(8123, "127.0.0.1", async () => {
    await Promise.all([...Array(20).keys()].map((i) => get("/" + i)));
    console.log("ok");
    process.exit(0);
});
E
[ "$(node s.js)" = ok ]
