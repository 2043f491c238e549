// Our own SDKs as a stranger runs them: examples/machine (tokensource) calls examples/api
// (verify), as programs of their own that know the issuer only by its address.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { AuthenticationClient } from 'auth0';
import { apiBinary, caFile, createApi, createClient, decode, domain, issuer, machineBinary, management, MGMT_CLIENT_ID, MGMT_CLIENT_SECRET, randomValue } from '../lib/fixtures.mjs';
import { freePort, output, start } from '../lib/process.mjs';

const ready = 'api: ready ';

// startApi starts the API and returns it with its address.
async function startApi(audience, more = {}) {
  const flags = { issuer, audience, ca: caFile, listen: 'localhost:0', ...more };
  const api = await start(apiBinary, Object.entries(flags).flatMap(([name, value]) => [`-${name}`, value]), ready);
  return { ...api, url: api.line.slice(ready.length) };
}

describe('examples/machine and examples/api', () => {
  let api, resource, client, scoped, elsewhere;

  before(async () => {
    const scopes = [{ value: 'read:messages', description: 'Read messages' }];
    resource = await createApi({ scopes });
    elsewhere = await createApi({ scopes });
    const machine = { app_type: 'non_interactive', grant_types: ['client_credentials'] };
    client = await createClient(machine);
    scoped = await createClient(machine);
    await management.clientGrants.create({ client_id: client.client_id, audience: resource.identifier, scope: [] });
    for (const { identifier } of [resource, elsewhere]) {
      await management.clientGrants.create({ client_id: scoped.client_id, audience: identifier, scope: ['read:messages'] });
    }
    api = await startApi(resource.identifier);
  });
  after(() => api?.stop());

  const machine = (env) => output(machineBinary, [], { env: { ISSUER: issuer, CA_FILE: caFile, ...env } });
  const as = ({ client_id, client_secret }, more) =>
    machine({ CLIENT_ID: client_id, CLIENT_SECRET: client_secret, AUDIENCE: resource.identifier, API_URL: `${api.url}/private`, ...more });
  const token = async ({ client_id, client_secret }, audience = resource.identifier) =>
    (await new AuthenticationClient({ domain, clientId: client_id, clientSecret: client_secret }).oauth.clientCredentialsGrant({ audience })).data.access_token;
  const call = (path, bearer, base = api.url) => fetch(base + path, bearer ? { headers: { Authorization: `Bearer ${bearer}` } } : {});

  // issued counts the tokens the issuer has reported for a client. Such an event waits for
  // the next commit to take it along, so here is one.
  async function issued({ client_id }) {
    await management.clients.update(client_id, { description: 'counted' });
    const page = await management.logs.list({ search: `type:seccft AND client_id:${client_id}` });
    return page.data.length;
  }

  test('the machine calls twice with one token', async () => {
    const lines = (await as(client)).trim().split('\n');
    for (const n of [1, 2]) {
      assert.match(lines.find((line) => line.startsWith(`call ${n}: `)), new RegExp(`^call ${n}: 200 OK .*"sub":"${client.client_id}@clients"`));
    }
    assert.match(lines.at(-1), /^one token served both calls, good until 20\d\d-/);
    assert.equal(await issued(client), 1, 'tokens the issuer made');
  });

  test('a scope opens one endpoint more, and only for who has it', async () => {
    assert.match(await as(scoped, { API_URL: `${api.url}/private-scoped` }), /call 2: 200 OK .*"read:messages"/);
    await assert.rejects(as(client, { API_URL: `${api.url}/private-scoped` }), /exit status 1[^]*403 Forbidden Bearer error="insufficient_scope"/);
  });

  test('a wrong secret, and an API nobody made', async () => {
    await assert.rejects(as({ ...client, client_secret: randomValue() }), /exit status 1[^]*access_denied/);
    await assert.rejects(as(client, { AUDIENCE: 'https://nowhere.example/' }), /exit status 1[^]*access_denied/);
  });

  test('the Management API, with what the command line prints', async () => {
    const out = await machine({ CLIENT_ID: '', MGMT_CLIENT_ID, MGMT_CLIENT_SECRET, AUDIENCE: `${issuer}api/v2/`, API_URL: `${issuer}api/v2/clients` });
    assert.match(out, /^call 1: 200 OK \[?\{/);
    assert.ok(out.includes(client.client_id), 'the list holds a client of this journey');
  });

  test('the API refuses no token, one for another API, a changed one', async () => {
    assert.equal((await call('/public')).status, 200);
    const none = await call('/private');
    assert.equal(none.status, 401);
    assert.equal(none.headers.get('www-authenticate'), 'Bearer', 'no error where nothing was presented (RFC 6750 §3.1)');

    const good = await token(client);
    assert.equal((await call('/private', good)).status, 200);
    const [header, , signature] = good.split('.');
    const claims = { ...decode(good).claims, scope: 'read:messages' };
    const changed = [header, Buffer.from(JSON.stringify(claims)).toString('base64url'), signature].join('.');
    for (const bad of [changed, await token(scoped, elsewhere.identifier), `${good.slice(0, good.lastIndexOf('.'))}.`, 'x']) {
      const answer = await call('/private-scoped', bad);
      assert.equal(answer.status, 401);
      assert.match(answer.headers.get('www-authenticate'), /^Bearer .*error="invalid_token"/);
    }
  });

  test('keys that cannot be had are no fault of the token: 503, and a hint when to come again', async () => {
    const lonely = await startApi(resource.identifier, { issuer: `https://localhost:${await freePort()}/` });
    try {
      const answer = await call('/private', await token(client), lonely.url);
      assert.equal(answer.status, 503);
      assert.ok(Number(answer.headers.get('retry-after')) > 0, `Retry-After ${answer.headers.get('retry-after')}`);
      assert.equal(answer.headers.get('www-authenticate'), null, 'nothing that makes a client throw its token away');
    } finally {
      await lonely.stop();
    }
  });
});
