// The official Node.js SDK's ManagementClient, in the two major versions in use, over every
// resource: made, found, listed, changed, deleted, and what is gone is 404.

import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { AuthenticationClient } from 'auth0';
import { connectionName, createApi, createClient, createUser, databaseConnection, domain, issuer, management as defaultManagement, managementOptions, newPassword, unique } from '../lib/fixtures.mjs';
import { PlainBrowser } from '../lib/plain-browser.mjs';

const systemApi = `${issuer}api/v2/`;

// gone asserts that promise ends in the Management API's 404.
async function gone(promise) {
  await assert.rejects(promise, (err) => {
    assert.equal(err.statusCode, 404);
    assert.equal(err.body?.statusCode, 404, 'the body repeats the status');
    assert.equal(err.body?.error, 'Not Found');
    return true;
  });
}

// all walks a list to its end through the SDK's own paging.
async function all(pagePromise) {
  const items = [];
  for await (const item of await pagePromise) items.push(item);
  return items;
}

for (const version of ['auth0', 'auth0-7']) {
  describe(`${version}: ManagementClient`, () => {
    let management;
    before(async () => {
      const { ManagementClient } = await import(version);
      management = new ManagementClient(managementOptions);
    });

    test('clients', async () => {
      const name = `journey ${unique()}`;
      const made = await management.clients.create({
        name,
        app_type: 'regular_web',
        callbacks: ['https://app.example.com/callback'],
        grant_types: ['authorization_code', 'refresh_token', 'client_credentials'],
        client_metadata: { team: 'blue' },
      });
      assert.match(made.client_id, /^\w{16,}$/);
      assert.ok(made.client_secret.length >= 43, 'a secret of 256 bits');
      assert.equal(made.name, name);
      assert.equal(made.is_first_party, true);
      assert.equal(made.oidc_conformant, false, 'as the API has it; the dashboard says true');

      const got = await management.clients.get(made.client_id);
      assert.deepEqual(got.callbacks, ['https://app.example.com/callback']);
      assert.equal(got.client_secret, made.client_secret, 'shown to read:client_keys');
      assert.ok(got.signing_keys[0].cert.startsWith('-----BEGIN CERTIFICATE-----'));
      const few = await management.clients.get(made.client_id, { fields: 'name,client_id', include_fields: true });
      assert.deepEqual(Object.keys(few).sort(), ['client_id', 'name']);

      const patched = await management.clients.update(made.client_id, { description: 'changed', client_metadata: { tier: 'gold' } });
      assert.equal(patched.description, 'changed');
      assert.deepEqual(patched.client_metadata, { team: 'blue', tier: 'gold' }, 'metadata is merged');
      assert.deepEqual(patched.grant_types, made.grant_types, 'what was not sent is as it was');

      const rotated = await management.clients.rotateSecret(made.client_id);
      assert.notEqual(rotated.client_secret, made.client_secret);

      const ids = (await all(management.clients.list({ per_page: 2 }))).map((c) => c.client_id);
      assert.ok(ids.includes(made.client_id));
      assert.equal(new Set(ids).size, ids.length, 'no client twice over all pages');

      await management.clients.delete(made.client_id);
      await gone(management.clients.get(made.client_id));
    });

    test('a client without a name is refused with the reason', async () => {
      await assert.rejects(management.clients.create({ app_type: 'spa' }), (err) => {
        assert.equal(err.statusCode, 400);
        assert.equal(err.body.errorCode, 'invalid_body');
        assert.match(err.body.message, /Missing required property: name/);
        return true;
      });
    });

    test('resource servers', async () => {
      const identifier = `https://orders-${unique()}.example/`;
      const made = await management.resourceServers.create({ identifier, name: 'Orders', scopes: [{ value: 'read:orders', description: 'Read' }], token_lifetime: 3600 });
      assert.equal(made.identifier, identifier);
      assert.equal(made.signing_alg, 'RS256');
      assert.equal(made.token_lifetime, 3600);
      assert.equal(made.allow_offline_access, false);

      assert.equal((await management.resourceServers.get(made.id)).identifier, identifier);
      assert.equal((await management.resourceServers.get(identifier)).id, made.id, 'by its identifier, which has slashes');
      const patched = await management.resourceServers.update(made.id, { allow_offline_access: true, scopes: [{ value: 'write:orders', description: 'Write' }] });
      assert.equal(patched.allow_offline_access, true);
      assert.deepEqual(patched.scopes.map((s) => s.value), ['write:orders'], 'the list of scopes is replaced');

      const identifiers = (await all(management.resourceServers.list())).map((r) => r.identifier);
      assert.ok(identifiers.includes(identifier) && identifiers.includes(systemApi), identifiers.join());

      await assert.rejects(management.resourceServers.create({ identifier }), (err) => err.statusCode === 409);
      await management.resourceServers.delete(made.id);
      await gone(management.resourceServers.get(made.id));
    });

    test('client grants', async () => {
      const api = await createApi();
      const client = await createClient({ app_type: 'non_interactive', grant_types: ['client_credentials'] });
      const made = await management.clientGrants.create({ client_id: client.client_id, audience: api.identifier, scope: ['read:orders'] });
      assert.match(made.id, /^cgr_/);
      assert.deepEqual((await management.clientGrants.get(made.id)).scope, ['read:orders']);
      const patched = await management.clientGrants.update(made.id, { scope: ['read:orders', 'write:orders'] });
      assert.deepEqual(patched.scope, ['read:orders', 'write:orders']);
      const listed = await all(management.clientGrants.list({ client_id: client.client_id }));
      assert.deepEqual(listed.map((g) => g.id), [made.id]);
      await assert.rejects(management.clientGrants.create({ client_id: client.client_id, audience: api.identifier, scope: [] }), (err) => err.statusCode === 409);
      await management.clientGrants.delete(made.id);
      await gone(management.clientGrants.get(made.id));
    });

    test('users', async () => {
      const email = `user-${unique()}@example.com`;
      const made = await management.users.create({ connection: connectionName, email, password: newPassword(), user_metadata: { color: 'red' }, app_metadata: { plan: 'free' } });
      assert.match(made.user_id, /^auth0\|/);
      assert.equal(made.identities[0].connection, connectionName);
      assert.equal(made.password, undefined);

      assert.equal((await management.users.get(made.user_id)).email, email);
      const patched = await management.users.update(made.user_id, { name: 'Grace', app_metadata: { seats: 3 } });
      assert.equal(patched.name, 'Grace');
      assert.deepEqual(patched.app_metadata, { plan: 'free', seats: 3 });
      assert.deepEqual((await management.users.listUsersByEmail({ email })).map((u) => u.user_id), [made.user_id]);
      const found = await management.users.list({ per_page: 100 });
      assert.ok((await all(found)).some((u) => u.user_id === made.user_id));
      assert.equal((await management.users.update(made.user_id, { blocked: true })).blocked, true);

      await assert.rejects(management.users.create({ connection: connectionName, email, password: newPassword() }), (err) => err.statusCode === 409);
      await management.users.delete(made.user_id);
      await gone(management.users.get(made.user_id));
    });

    test('connections', async () => {
      const first = await databaseConnection();
      assert.equal((await management.connections.get(first.id)).strategy, 'auth0');
      const made = await management.connections.create({ name: `people-${unique()}`, strategy: 'auth0' });
      assert.match(made.id, /^con_/);
      const client = await createClient({ app_type: 'spa' });
      await management.connections.clients.update(made.id, [{ client_id: client.client_id, status: true }]);
      const enabled = await all(management.connections.clients.get(made.id));
      assert.deepEqual(enabled.map((c) => c.client_id), [client.client_id]);
      const patched = await management.connections.update(made.id, { metadata: { region: 'eu' } });
      assert.deepEqual(patched.metadata, { region: 'eu' });
      assert.ok((await all(management.connections.list({ strategy: ['auth0'] }))).some((c) => c.id === made.id));
      await management.connections.delete(made.id);
      await gone(management.connections.get(made.id));
    });

    test('refresh tokens and device credentials', async () => {
      const api = await createApi();
      const client = await createClient({
        app_type: 'regular_web',
        token_endpoint_auth_method: 'client_secret_post',
        grant_types: ['http://auth0.com/oauth/grant-type/password-realm', 'refresh_token'],
        refresh_token: { rotation_type: 'rotating', expiration_type: 'expiring', token_lifetime: 86400, idle_token_lifetime: 3600 },
      });
      const user = await createUser();
      const authentication = new AuthenticationClient({ domain, clientId: client.client_id, clientSecret: client.client_secret });
      const login = async () =>
        (await authentication.oauth.passwordGrant({ username: user.email, password: user.password, realm: connectionName, audience: api.identifier, scope: 'openid offline_access read:orders' })).data;
      const dead = (refresh_token) => assert.rejects(authentication.oauth.refreshTokenGrant({ refresh_token }), (err) => err.statusCode === 403 && err.error === 'invalid_grant');

      const tokens = [await login(), await login(), await login()];
      const records = await all(management.users.refreshToken.list(user.user_id));
      assert.equal(records.length, 3);
      const record = await management.refreshTokens.get(records[0].id);
      assert.equal(record.user_id, user.user_id);
      assert.equal(record.client_id, client.client_id);
      assert.equal(record.rotating, true);
      assert.equal(record.resource_servers[0].audience, api.identifier);
      assert.doesNotMatch(JSON.stringify(records), /brt_/, 'a record is not a token');
      const patched = await management.refreshTokens.update(record.id, { refresh_token_metadata: { laptop: 'yes' } });
      assert.deepEqual(patched.refresh_token_metadata, { laptop: 'yes' });

      const credentials = await all(management.deviceCredentials.list({ user_id: user.user_id, type: 'rotating_refresh_token' }));
      assert.deepEqual(credentials.map((c) => c.id).sort(), records.map((r) => r.id).sort());
      await management.deviceCredentials.delete(credentials[0].id);
      await gone(management.refreshTokens.get(credentials[0].id));
      await management.refreshTokens.delete(credentials[1].id);
      const left = await all(management.users.refreshToken.list(user.user_id));
      assert.deepEqual(left.map((r) => r.id), [credentials[2].id]);
      await management.users.refreshToken.delete(user.user_id);
      assert.deepEqual(await all(management.users.refreshToken.list(user.user_id)), []);
      for (const { refresh_token } of tokens) await dead(refresh_token);
    });

    test('logs', async () => {
      const client = await createClient({ app_type: 'non_interactive', grant_types: ['client_credentials'], token_endpoint_auth_method: 'client_secret_post' });
      const authentication = new AuthenticationClient({ domain, clientId: client.client_id, clientSecret: client.client_secret });
      const api = await createApi();
      await management.clientGrants.create({ client_id: client.client_id, audience: api.identifier, scope: [] });
      await authentication.oauth.clientCredentialsGrant({ audience: api.identifier });
      // A change of anything writes at once what waited to be written (design D13).
      await management.clients.delete(client.client_id);
      const page = await management.logs.list({ per_page: 50, sort: 'date:-1' });
      const exchange = page.data.find((e) => e.type === 'seccft' && e.client_id === client.client_id);
      assert.ok(exchange, `seccft among ${page.data.map((e) => e.type).join(' ')}`);
      assert.equal((await management.logs.get(exchange.log_id)).log_id, exchange.log_id);
      assert.ok(page.data.some((e) => e.type === 'sapi'), 'the change itself');
      assert.doesNotMatch(JSON.stringify(page.data), new RegExp(client.client_secret), 'no event holds a secret');
    });

    test('signing keys', async () => {
      const keys = await management.keys.signing.list();
      const current = keys.find((k) => k.current);
      assert.ok(current?.cert.startsWith('-----BEGIN CERTIFICATE-----'));
      const jwks = await (await fetch(`${issuer}.well-known/jwks.json`)).json();
      assert.ok(jwks.keys.some((k) => k.kid === current.kid && k.x5c?.length === 1 && k.x5t));
    });

    test('tenant settings', async () => {
      const defaults = await management.tenants.settings.get();
      assert.equal(defaults.session_lifetime, 168);
      const patched = await management.tenants.settings.update({ friendly_name: 'Journeys', support_email: 'help@example.com' });
      assert.equal(patched.friendly_name, 'Journeys');
      assert.equal((await management.tenants.settings.get()).support_email, 'help@example.com');
    });
  });
}

test('consents are listed and deleted as grants', async () => {
  const callback = 'https://third.example.com/callback';
  const client = await createClient({ app_type: 'regular_web', grant_types: ['authorization_code'], callbacks: [callback], is_first_party: false });
  const user = await createUser();
  const url = new URL('authorize', issuer);
  url.search = new URLSearchParams({
    client_id: client.client_id, redirect_uri: callback, response_type: 'code', scope: 'openid profile', state: unique(),
    code_challenge: 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM', code_challenge_method: 'S256',
  });
  const back = await new PlainBrowser({ stopAt: callback }).login(url, user);
  assert.ok(back.searchParams.get('code'), back.href);
  const grants = (await defaultManagement.userGrants.list({ user_id: user.user_id })).data;
  assert.equal(grants.length, 1);
  assert.equal(grants[0].clientID, client.client_id);
  assert.deepEqual(grants[0].scope.sort(), ['openid', 'profile']);
  await defaultManagement.userGrants.delete(grants[0].id);
  assert.deepEqual((await defaultManagement.userGrants.list({ user_id: user.user_id })).data, []);
});
