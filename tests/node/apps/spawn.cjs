'use strict';
// Names the sockets that a program gets which the app starts.
const { execFileSync } = require('child_process');
const links = execFileSync('sh', ['-c', 'ls -l /proc/self/fd'], { stdio: ['ignore', 'pipe', 'ignore'] });
const sockets = String(links).split('\n').filter((line) => line.includes(' 3 -> socket:'));
require('fs').writeSync(1, `LINKS ${JSON.stringify(sockets)}\n`);
