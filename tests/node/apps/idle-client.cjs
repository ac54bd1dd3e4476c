'use strict';
// One https request on a connection that is then kept, idle, until the server closes it.
const agent = new (require('https').Agent)({ keepAlive: true, rejectUnauthorized: false });
require('https').get({ port: process.env.PORT, path: '/fast', agent }, (response) => {
  response.resume().on('end', () => console.log('IDLE'));
});
process.stdin.resume().on('end', () => process.exit());
