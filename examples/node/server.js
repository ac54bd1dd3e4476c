// An ordinary Node server that knows nothing of ganger, systemd or node:cluster.
//
//     ganger run examples/node/hello-node.toml
'use strict';
const http = require('node:http');

http
  .createServer((request, response) => {
    response.end(`hello from Node, worker ${process.env.NODE_APP_INSTANCE ?? '-'}, pid ${process.pid}\n`);
  })
  .listen(3000, '127.0.0.1');
