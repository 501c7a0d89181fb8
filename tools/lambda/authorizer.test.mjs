// The token check of lambda-authorizer: the code out of its template, real RS256 keys, a real server for the keys.

import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';

import { handlerOf } from './load.mjs';
import { clock, confused, httpsTo, key, server, token, unsigned } from './tokens.mjs';

const TEMPLATE = new URL('../../components/lambda-authorizer/function.cfn.yaml', import.meta.url);
const ISSUER = 'https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbCdEfGhI';
const CLIENT = '4ivne28uad3dp6uncttem7sf20';

const good = key('one');
const next = key('two');
const stranger = key('one');
const weak = key('weak', 1024);

let idp;
let time;
let log;
let authorize;

/** The function as it starts in a fresh environment. */
function start(config = {}) {
  time = clock();
  log = [];
  const note = (line) => log.push(line);
  const handler = handlerOf(TEMPLATE, 'Function', {
    config: { IssuerUrl: ISSUER, JwksUri: `${ISSUER}/.well-known/jwks.json`, Audiences: `other,${CLIENT}`, ...config },
    modules: { 'node:https': httpsTo(idp.port) },
    globals: { Date: time, console: { log: note, error: note } },
  });
  authorize = async (authorization, host = 'api.dev.acme.example') => {
    const headers = authorization === undefined ? {} : { authorization };
    const requestContext = { domainName: host, requestId: 'JKJaXmPLvHcESHA=', http: { method: 'GET', path: '/' } };
    try {
      const answer = await handler({ version: '2.0', type: 'REQUEST', headers, requestContext });
      return answer.isAuthorized ? answer.context : 403;
    } catch (error) {
      // As API Gateway does: this one message is 401, every other error is its own fault.
      return error.message === 'Unauthorized' ? 401 : 500;
    }
  };
}

/** Claims of an access token as Cognito writes them. */
const claims = (changed = {}) => ({
  sub: 'b8f4f7a2',
  iss: ISSUER,
  client_id: CLIENT,
  token_use: 'access',
  scope: 'openid employee-api/read employee-api/write',
  iat: time.seconds() - 10,
  exp: time.seconds() + 3600,
  ...changed,
});
const bearer = (changed, signer = good, header = {}) => `Bearer ${token(signer, claims(changed), header)}`;
const passed = { subject: 'b8f4f7a2', client: CLIENT, scope: 'openid employee-api/read employee-api/write' };
const keysServed = (...all) => (_, response) => response.end(JSON.stringify({ keys: all.map(({ jwk }) => jwk) }));

before(async () => (idp = await server(keysServed(good))));
after(() => idp.close());
beforeEach(() => {
  idp.answer = keysServed(good);
  idp.requests.length = 0;
  start();
});

describe('a token that counts', () => {
  test('passes, and its keys are fetched once', async () => {
    assert.deepEqual(await authorize(bearer()), passed);
    assert.deepEqual(await authorize(bearer()), passed);
    assert.deepEqual(idp.requests.map(({ url }) => url), ['/eu-central-1_AbCdEfGhI/.well-known/jwks.json']);
  });

  test('may write the scheme in any case', async () => {
    assert.deepEqual(await authorize(bearer().replace('Bearer', 'bearer')), passed);
  });

  test('may name its client in aud, alone or among others', async () => {
    start({ TokenUse: 'id' });
    const id = { token_use: 'id', client_id: undefined, scope: undefined };
    const context = { subject: 'b8f4f7a2', client: '', scope: '' };
    assert.deepEqual(await authorize(bearer({ ...id, aud: CLIENT })), context);
    assert.deepEqual(await authorize(bearer({ ...id, aud: ['x', CLIENT] })), context);
  });

  test('needs no token_use where the issuer does not know it', async () => {
    start({ TokenUse: 'any' });
    assert.deepEqual(await authorize(bearer({ token_use: undefined })), passed);
  });

  test('may come from a clock that is a little ahead', async () => {
    assert.deepEqual(await authorize(bearer({ nbf: time.seconds() + 30, iat: time.seconds() + 30 })), passed);
  });
});

describe('a token that does not count', () => {
  const cases = {
    'has expired': () => bearer({ exp: time.seconds() - 1 }),
    'expires at this second': () => bearer({ exp: time.seconds() }),
    'never expires': () => bearer({ exp: undefined }),
    'expires at a text': () => bearer({ exp: String(time.seconds() + 3600) }),
    'is not valid yet': () => bearer({ nbf: time.seconds() + 31 }),
    'was issued in the future': () => bearer({ iat: time.seconds() + 31 }),
    'has an nbf that is no number': () => bearer({ nbf: 'soon' }),
    'is from another issuer': () => bearer({ iss: `${ISSUER}x` }),
    'is from no issuer': () => bearer({ iss: undefined }),
    'is for another client': () => bearer({ client_id: 'somebody-else' }),
    'is for nobody': () => bearer({ client_id: undefined }),
    'is an id token': () => bearer({ token_use: 'id' }),
    'does not say what it is': () => bearer({ token_use: undefined }),
    'says it needs no signature': () => `Bearer ${unsigned(good, claims())}`,
    'says it needs no signature, with one': () => bearer({}, good, { alg: 'none' }),
    'is signed with the public key as a secret': () => `Bearer ${confused(good, claims())}`,
    'is signed with another algorithm of the same key': () => bearer({}, good, { alg: 'PS256' }),
    'asks for an extension': () => bearer({}, good, { crit: ['b64'] }),
    'is signed by a stranger under a known name': () => bearer({}, stranger),
    'names no key': () => bearer({}, good, { kid: undefined }),
    'names its key by a list': () => bearer({}, good, { kid: ['one'] }),
    'was changed after signing': () => {
      const [head, , signature] = token(good, claims()).split('.');
      return `Bearer ${head}.${Buffer.from(JSON.stringify(claims({ sub: 'root' }))).toString('base64url')}.${signature}`;
    },
    'has no JSON in it': () => 'Bearer YQ.YQ.YQ',
    'has null for a header': () => 'Bearer bnVsbA.bnVsbA.YQ',
    'has two parts': () => 'Bearer a.b',
    'is longer than any token': () => bearer({ filler: 'x'.repeat(9000) }),
    'comes with something else': () => `${bearer()}, Basic YTpi`,
    'is empty': () => 'Bearer ',
    'is empty without a space': () => 'Bearer',
    'is of another scheme': () => 'Basic YTpi',
    'is an empty header': () => '',
    'is missing': () => undefined,
  };
  for (const [name, header] of Object.entries(cases)) {
    test(name, async () => {
      assert.equal(await authorize(header()), 401);
      // The reason is logged, the token is not.
      assert.match(log.at(-1), /"refused":"[a-z ]+"/);
      for (const part of (header() ?? '').split(/[ .]/).filter((text) => text.length > 8)) {
        assert.ok(!log.join().includes(part), 'a part of the token is in the log');
      }
    });
  }

  test('none of these makes anybody fetch the keys more than once', async () => {
    for (const header of Object.values(cases)) await authorize(header());
    assert.equal(idp.requests.length, 1);
  });
});

describe('scopes', () => {
  test('must all be there', async () => {
    start({ Scopes: 'employee-api/read,employee-api/write' });
    assert.deepEqual(await authorize(bearer()), passed);
    assert.equal(await authorize(bearer({ scope: 'employee-api/read' })), 403);
    assert.equal(await authorize(bearer({ scope: 'employee-api/read employee-api/writer' })), 403);
    assert.equal(await authorize(bearer({ scope: undefined })), 403);
    assert.match(log.at(-1), /scope missing: employee-api\/read employee-api\/write/);
  });

  test('do not help a token that does not count', async () => {
    start({ Scopes: 'employee-api/read' });
    assert.equal(await authorize(bearer({ exp: time.seconds() - 1 })), 401);
  });
});

describe('hosts without a token', () => {
  test('need none, and nobody is told who came', async () => {
    start({ OpenHosts: 'signin.dev.acme.example,docs.dev.acme.example' });
    assert.deepEqual(await authorize(undefined, 'signin.dev.acme.example'), { subject: '' });
    assert.deepEqual(await authorize(undefined, 'Docs.Dev.Acme.Example'), { subject: '' });
    assert.deepEqual(await authorize(bearer({ exp: 1 }), 'docs.dev.acme.example'), { subject: '' });
    assert.equal(idp.requests.length, 0);
  });

  test('open no other host', async () => {
    start({ OpenHosts: 'signin.dev.acme.example' });
    for (const host of ['api.dev.acme.example', 'x.signin.dev.acme.example', 'signin.dev.acme.example.x', '']) {
      assert.equal(await authorize(undefined, host), 401, host);
    }
  });

  test('are none unless named', async () => {
    assert.equal(await authorize(undefined, ''), 401);
  });
});

describe('the keys of the issuer', () => {
  test('are asked for once more when a token names a new one', async () => {
    assert.deepEqual(await authorize(bearer()), passed);
    idp.answer = keysServed(next);
    time.pass(61);
    assert.deepEqual(await authorize(bearer({}, next)), passed);
    assert.equal(idp.requests.length, 2);
    // The old one is no longer published: what it signed does not count any more.
    assert.equal(await authorize(bearer()), 401);
  });

  test('are asked for at most once a minute, however many unknown keys are named', async () => {
    assert.equal(await authorize(bearer({}, next)), 401);
    for (let i = 0; i < 20; i += 1) assert.equal(await authorize(bearer({}, next, { kid: `made-up-${i}` })), 401);
    assert.equal(idp.requests.length, 1);
    time.pass(60);
    assert.equal(await authorize(bearer({}, next)), 401);
    assert.equal(await authorize(bearer({}, next)), 401);
    assert.equal(idp.requests.length, 2);
  });

  test('are asked for anew after an hour', async () => {
    await authorize(bearer());
    time.pass(3599);
    await authorize(bearer());
    assert.equal(idp.requests.length, 1);
    time.pass(1);
    assert.deepEqual(await authorize(bearer()), passed);
    assert.equal(idp.requests.length, 2);
  });

  for (const [name, answer] of Object.entries({
    'are not there': (_, response) => response.writeHead(503).end(),
    'are no JSON': (_, response) => response.end('<html>'),
    'are too long': (_, response) => response.end('x'.repeat(300000)),
    'are an empty list': (_, response) => response.end('{"keys":[]}'),
    'are too weak': keysServed(weak),
    'are for encryption': (_, response) => response.end(JSON.stringify({ keys: [{ ...good.jwk, use: 'enc' }] })),
    'are cut off': (_, response) => {
      response.writeHead(200, { 'content-length': 1000 });
      response.write('{');
      response.socket.destroy();
    },
  })) {
    test(`${name}: nobody passes, and it is not the token's fault`, async () => {
      idp.answer = answer;
      assert.equal(await authorize(bearer({}, name === 'are too weak' ? weak : good)), 500);
      assert.match(log.at(-1), /"keys":"not fetched"/);
    });
  }

  test('that were fetched serve for a day while the issuer does not answer', async () => {
    await authorize(bearer());
    idp.answer = (_, response) => response.writeHead(503).end();
    time.pass(86399);
    assert.deepEqual(await authorize(bearer()), passed);
    time.pass(10);
    assert.equal(await authorize(bearer()), 500);
  });

  test('are found again soon after the issuer is back', async () => {
    idp.answer = (_, response) => response.writeHead(503).end();
    assert.equal(await authorize(bearer()), 500);
    assert.equal(await authorize(bearer()), 500);
    assert.equal(idp.requests.length, 1);
    idp.answer = keysServed(good);
    time.pass(5);
    assert.deepEqual(await authorize(bearer()), passed);
  });

  test('must come over https', () => {
    assert.throws(() => start({ JwksUri: 'http://issuer.example/jwks.json' }), /https/);
  });
});
