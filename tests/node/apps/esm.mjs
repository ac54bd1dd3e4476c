import cluster from 'node:cluster';
import http from 'node:http';
await new Promise((resolve) => setImmediate(resolve));
http.createServer((_, response) => response.end(String(cluster.worker.id))).listen(process.env.PORT);
