'use strict';
// A server under load: /fast at once, /slow after MS milliseconds, /stream in eleven pieces over that time. TLS=1 for
// https, TLS=2 for http2 that speaks HTTP/1.1, too, TLS=3 for http2 alone, TLS=4 for http2 without TLS.
const cluster = require('cluster');
const fs = require('fs');
const answer = (request, response) => {
  const body = `${cluster.worker.id}\n`;
  const ms = Number(process.env.MS || 100);
  if (request.url === '/slow') setTimeout(() => response.end(body), ms);
  else if (request.url === '/stream') piece(response, body, 10, ms / 10);
  else response.end(body);
};
const piece = (response, body, left, pause) => {
  if (left === 0) return response.end(body);
  response.write(body);
  setTimeout(piece, pause, response, body, left - 1, pause);
};
const pem = (name) => fs.readFileSync(`${process.env.FIXTURES}/${name}`);
const secrets = () => ({ key: pem('key.pem'), cert: pem('cert.pem') });
const make = {
  1: () => require('https').createServer(secrets(), answer),
  2: () => require('http2').createSecureServer({ ...secrets(), allowHTTP1: true }, answer),
  3: () => require('http2').createSecureServer(secrets(), answer),
  4: () => require('http2').createServer(answer),
};
const server = process.env.TLS ? make[process.env.TLS]() : require('http').createServer(answer);
if (process.env.MAX_CONNECTIONS) server.maxConnections = Number(process.env.MAX_CONNECTIONS);
if (process.env.KEEP_ALIVE) server.keepAliveTimeout = Number(process.env.KEEP_ALIVE);
server.listen(Number(process.env.PORT));
