// Starts and stops bulla, and runs its command line (design D12).

import { mkdir } from 'node:fs/promises';
import { freePort, output, start } from './process.mjs';

// startBulla starts binary on a free port with data as its (empty) data directory.
export async function startBulla(binary, data) {
  await mkdir(data, { mode: 0o700, recursive: true });
  const port = await freePort();
  const domain = `localhost:${port}`;
  const env = { BULLA_DATA: data, BULLA_LISTEN: domain, BULLA_DOMAIN: domain };
  const began = performance.now();
  const server = await start(binary, ['serve'], 'bulla: ready ', { env });
  const startMillis = Math.round(performance.now() - began);
  const issuer = server.line.slice('bulla: ready '.length);
  if (issuer !== `https://${domain}/`) {
    await server.stop();
    throw new Error(`ready line names ${issuer}, want https://${domain}/`);
  }
  return {
    issuer,
    data,
    startMillis,
    stop: server.stop,
    log: server.log,
    // managementClient makes a client for the Management API: {ISSUER, CA_FILE, …}.
    async managementClient() {
      const lines = (await output(binary, ['management-client', '--format', 'env'], { env })).trim().split('\n');
      const entries = Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]));
      const got = Object.keys(entries).join(' ');
      const want = 'ISSUER CA_FILE MGMT_CLIENT_ID MGMT_CLIENT_SECRET';
      if (got !== want) throw new Error(`management-client --format env printed ${got}, want ${want}`);
      return entries;
    },
  };
}
