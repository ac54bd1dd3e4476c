'use strict';
// Node's own primary with WORKERS workers; NODE_CLUSTER_SCHED_POLICY says who accepts.
const cluster = require('cluster');
cluster.setupPrimary({ exec: `${__dirname}/app.cjs` });
for (let n = 0; n < Number(process.env.WORKERS); n++) cluster.fork();
