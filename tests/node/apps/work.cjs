'use strict';
// A server under load: /fast at once, /slow after MS milliseconds, /stream in pieces. TLS=1 for https,
// TLS=2 for http2 that speaks HTTP/1.1, too.
const cluster = require('cluster');
const fs = require('fs');
const answer = (request, response) => {
  const body = `${cluster.worker.id}\n`;
  if (request.url === '/slow') setTimeout(() => response.end(body), Number(process.env.MS || 100));
  else response.end(body);
};
const pem = (name) => fs.readFileSync(`${process.env.FIXTURES}/${name}`);
const secrets = () => ({ key: pem('key.pem'), cert: pem('cert.pem') });
const make = {
  1: () => require('https').createServer(secrets(), answer),
  2: () => require('http2').createSecureServer({ ...secrets(), allowHTTP1: true }, answer),
};
const server = process.env.TLS ? make[process.env.TLS]() : require('http').createServer(answer);
if (process.env.MAX_CONNECTIONS) server.maxConnections = Number(process.env.MAX_CONNECTIONS);
if (process.env.KEEP_ALIVE) server.keepAliveTimeout = Number(process.env.KEEP_ALIVE);
server.listen(Number(process.env.PORT));
