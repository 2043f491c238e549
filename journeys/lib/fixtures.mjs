// What the journeys need at the issuer, made with the official management SDK. Every name
// carries a random part, so the journeys share one server and run in any order.

import { randomBytes, randomUUID } from 'node:crypto';
import { ManagementClient } from 'auth0';
import { output } from './process.mjs';

export const { ISSUER: issuer, CA_FILE: caFile, MGMT_CLIENT_ID, MGMT_CLIENT_SECRET, WORK: work, API: apiBinary, MACHINE: machineBinary, SCREENSHOTS: screenshots } = process.env;
if (!issuer) throw new Error('ISSUER is not set: run the journeys with `make journeys` or `node run.mjs`');

export const domain = new URL(issuer).host;
export const connectionName = 'Username-Password-Authentication';
export const managementOptions = { domain, clientId: MGMT_CLIENT_ID, clientSecret: MGMT_CLIENT_SECRET };
export const management = new ManagementClient(managementOptions);

export const unique = () => randomUUID().slice(0, 8);

let connection;

// databaseConnection is the default database connection, made at the first start.
export async function databaseConnection() {
  if (!connection) {
    const page = await management.connections.list({ name: connectionName });
    connection = page.data[0];
    if (connection?.name !== connectionName) throw new Error(`no connection ${connectionName}`);
  }
  return connection;
}

// createClient makes an application whose users are in the default connection.
export async function createClient(fields) {
  const client = await management.clients.create({ name: `journey ${unique()}`, ...fields });
  await management.connections.clients.update((await databaseConnection()).id, [{ client_id: client.client_id, status: true }]);
  return client;
}

// createApi makes a resource server that allows refresh tokens, with two scopes.
export function createApi(fields) {
  const id = unique();
  return management.resourceServers.create({
    name: `journey API ${id}`,
    identifier: `https://api-${id}.example/`,
    scopes: [
      { value: 'read:orders', description: 'Read orders' },
      { value: 'write:orders', description: 'Write orders' },
    ],
    allow_offline_access: true,
    skip_consent_for_verifiable_first_party_clients: true,
    ...fields,
  });
}

// createUser makes a user with a password nobody has used before.
export async function createUser() {
  const email = `user-${unique()}@example.com`;
  const password = newPassword();
  const user = await management.users.create({ connection: connectionName, email, password, email_verified: true, given_name: 'Ada', family_name: 'Journey', name: 'Ada Journey' });
  return { ...user, password };
}

export const newPassword = () => `Aa1!${randomBytes(18).toString('base64url')}`;

// createUserWithCommand makes one as an operator does, with the command line.
export async function createUserWithCommand() {
  const email = `user-${unique()}@example.com`;
  const password = newPassword();
  await output(process.env.BULLA, ['user', 'create', '--email', email, '--password-stdin'], { input: password + '\n' });
  return { email, password };
}

// decode reads a JWT's header and claims. It checks nothing.
export function decode(jwt) {
  const [header, payload] = jwt.split('.').map((part) => part && Buffer.from(part, 'base64url').toString());
  return { header: JSON.parse(header), claims: JSON.parse(payload) };
}

// code and PKCE for clients that bring none of their own
export const randomValue = () => randomBytes(32).toString('base64url');
