// What the tests of token checks share: an issuer with real keys, and a clock.

import { createHmac, generateKeyPairSync, sign } from 'node:crypto';
import http from 'node:http';

const encode = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

/** A signing key as an issuer has it. */
export function key(kid, modulusLength = 2048) {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength });
  return { kid, privateKey, publicKey, jwk: { ...publicKey.export({ format: 'jwk' }), kid, use: 'sig', alg: 'RS256' } };
}

/** A token with a signature; `header` replaces parts of its header. */
export function token(signer, claims, header = {}) {
  const signed = `${encode({ alg: 'RS256', typ: 'JWT', kid: signer.kid, ...header })}.${encode(claims)}`;
  return `${signed}.${sign('RSA-SHA256', Buffer.from(signed), signer.privateKey).toString('base64url')}`;
}

/** A token "signed" with the public key as a shared secret: what an algorithm taken from the token lets through. */
export function confused(signer, claims) {
  const signed = `${encode({ alg: 'HS256', typ: 'JWT', kid: signer.kid })}.${encode(claims)}`;
  const secret = signer.publicKey.export({ format: 'pem', type: 'spki' });
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
}

/** A token that says it needs no signature. */
export function unsigned(signer, claims) {
  return `${encode({ alg: 'none', kid: signer.kid })}.${encode(claims)}.`;
}

/** A clock that stands still until it is moved. Stands in for the global `Date`. */
export function clock(start = Date.UTC(2026, 10, 21)) {
  let now = start;
  return { now: () => now, seconds: () => Math.floor(now / 1000), pass: (seconds) => (now += seconds * 1000) };
}

/** An HTTP server on a free port; `answer(request, response, body)` may be replaced at any time. */
export async function server(answer) {
  const state = { answer, requests: [], close: () => new Promise((done) => listening.close(done)) };
  const listening = http.createServer((request, response) => {
    let body = '';
    request.on('data', (piece) => (body += piece));
    request.on('end', () => {
      state.requests.push({ method: request.method, url: request.url, headers: request.headers, body });
      state.answer(request, response, body);
    });
  });
  await new Promise((done) => listening.listen(0, '127.0.0.1', done));
  state.port = listening.address().port;
  return state;
}

/**
 * Stands in for `node:https`: every request goes to the local server instead, whatever host it is for. That it was
 * meant for https is checked here, because the functions have no switch that would let them speak plain http.
 */
export function httpsTo(port) {
  const elsewhere = (url, options) => {
    const { protocol, pathname, search } = new URL(url);
    if (protocol !== 'https:') throw new Error(`asked for ${url} without https`);
    return [{ host: '127.0.0.1', port, path: pathname + search, agent: false, ...options }];
  };
  return {
    get: (url, options, answered) => http.get(...elsewhere(url, options), answered),
    request: (url, options, answered) => http.request(...elsewhere(url, options), answered),
  };
}
