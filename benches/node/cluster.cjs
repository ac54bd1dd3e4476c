'use strict';
// Node's own primary with two workers; NODE_CLUSTER_SCHED_POLICY says who accepts.
const cluster = require('cluster');
cluster.setupPrimary({ exec: `${__dirname}/app.cjs` });
for (let n = 0; n < 2; n++) cluster.fork();
