'use strict';
// The app that every contender runs: says which process answered. LISTEN_FD: it takes that socket by itself.
const http = require('http');
const worker = `0/1/${process.pid}`;
const server = http.createServer((_, response) => {
  response.setHeader('X-Worker', worker);
  response.end('hello\n');
});
server.listen(process.env.LISTEN_FD ? { fd: Number(process.env.LISTEN_FD) } : { port: Number(process.env.PORT), host: '127.0.0.1' });
