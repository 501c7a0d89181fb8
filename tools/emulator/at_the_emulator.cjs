// Loaded before functions that the emulator runs: what they ask of Cognito is asked of the emulator, what they ask of
// Spot is asked of its stand-in. Everything else about their requests stays as it is.
const https = require('node:https');
const http = require('node:http');

/** Where a host's requests go, or nothing. */
function insteadOf(host) {
  if (/^cognito-idp\.[a-z0-9-]+\.amazonaws\.com$/.test(host)) return process.env.LANDFALL_EMULATOR;
  return host === 'api.spotinst.io' ? process.env.LANDFALL_SPOT : undefined;
}

for (const name of ['get', 'request']) {
  const original = https[name];
  https[name] = function (target, ...rest) {
    const url = target instanceof URL || typeof target === 'string' ? new URL(target) : undefined;
    const there = url && insteadOf(url.hostname);
    if (!there) return original.call(this, target, ...rest);
    const options = typeof rest[0] === 'object' ? rest.shift() : {};
    const headers = { ...options.headers, host: url.hostname };
    return http[name](new URL(url.pathname + url.search, there), { ...options, headers }, ...rest);
  };
}

const { fetch } = globalThis;
globalThis.fetch = function (target, ...rest) {
  const url = target instanceof URL || typeof target === 'string' ? new URL(target) : undefined;
  const there = url && insteadOf(url.hostname);
  return fetch(there ? new URL(url.pathname + url.search, there) : target, ...rest);
};
