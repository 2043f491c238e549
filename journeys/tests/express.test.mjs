// express-oauth2-jwt-bearer, the vendor's middleware for APIs, verifies our access tokens.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { AuthenticationClient } from 'auth0';
import express from 'express';
import { auth, requiredScopes } from 'express-oauth2-jwt-bearer';
import { createApi, createClient, domain, issuer, management } from '../lib/fixtures.mjs';

describe('express-oauth2-jwt-bearer', () => {
  let server, address, api, other, token;

  before(async () => {
    [api, other] = [await createApi(), await createApi()];
    const client = await createClient({ app_type: 'non_interactive', grant_types: ['client_credentials'], token_endpoint_auth_method: 'client_secret_post' });
    for (const { identifier } of [api, other]) await management.clientGrants.create({ client_id: client.client_id, audience: identifier, scope: ['read:orders'] });
    const authentication = new AuthenticationClient({ domain, clientId: client.client_id, clientSecret: client.client_secret });
    token = async (audience) => (await authentication.oauth.clientCredentialsGrant({ audience })).data.access_token;

    const app = express();
    app.use(auth({ issuerBaseURL: issuer, audience: api.identifier, tokenSigningAlg: 'RS256' }));
    app.get('/orders', requiredScopes('read:orders'), (req, res) => res.json(req.auth.payload));
    app.get('/admin', requiredScopes('write:orders'), (req, res) => res.json({}));
    app.use((err, req, res, next) => res.status(err.status ?? 500).set(err.headers ?? {}).json({ error: err.code ?? err.message }));
    server = await new Promise((resolve, reject) => {
      const s = app.listen(0, 'localhost', () => resolve(s)).on('error', reject);
    });
    address = `http://localhost:${server.address().port}`;
  });
  after(() => server?.close());

  const get = (path, bearer) => fetch(address + path, bearer ? { headers: { Authorization: `Bearer ${bearer}` } } : {});

  test('a token for this API', async () => {
    const answer = await get('/orders', await token(api.identifier));
    assert.equal(answer.status, 200);
    assert.equal((await answer.json()).aud, api.identifier);
  });

  test('none, one for another API, a changed one, one without the scope', async () => {
    assert.equal((await get('/orders')).status, 401);
    assert.equal((await get('/orders', await token(other.identifier))).status, 401);
    const good = await token(api.identifier);
    const [header, payload, signature] = good.split('.');
    const changed = Buffer.from(payload, 'base64url').toString().replace('read:orders', 'write:orders');
    assert.equal((await get('/admin', [header, Buffer.from(changed).toString('base64url'), signature].join('.'))).status, 401);
    const narrow = await get('/admin', good);
    assert.equal(narrow.status, 403);
    assert.match(narrow.headers.get('www-authenticate'), /insufficient_scope/);
  });
});
