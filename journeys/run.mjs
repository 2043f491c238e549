// Starts a bulla on an empty directory, runs the journeys in ./tests against it and stops
// it again. Node reads NODE_EXTRA_CA_CERTS only when it starts, so the tests are processes
// of their own, started once the server has made its certificate authority.
//
//   node run.mjs [tests/NAME.test.mjs ...]
//
// Environment: BULLA (the binary, default ../bulla), GO (default go), SCREENSHOTS (a
// directory to keep the pictures in; default a temporary one, whose name is printed).

import { spawn } from 'node:child_process';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startBulla } from './lib/bulla.mjs';
import { buildExample, need, run } from './lib/process.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
const binary = process.env.BULLA || join(here, '../bulla');
const tests = process.argv.slice(2).map((name) => resolve(name));
if (tests.length === 0) {
  for (const name of await readdir(join(here, 'tests'))) {
    if (name.endsWith('.test.mjs')) tests.push(join(here, 'tests', name));
  }
}

await need('chromium', 'certutil', 'openssl');
const work = await mkdtemp(join(tmpdir(), 'bulla-journeys-'));
const screenshots = process.env.SCREENSHOTS || (await mkdtemp(join(tmpdir(), 'bulla-screenshots-')));
let failed = false;
let bulla;
try {
  const api = await buildExample(join(here, '..'), 'api', work);
  const machine = await buildExample(join(here, '..'), 'machine', work);
  bulla = await startBulla(binary, join(work, 'data'));
  console.log(`journeys: ${bulla.issuer} is ready, ${bulla.startMillis} ms after it was started on an empty directory`);
  const { ISSUER, CA_FILE, MGMT_CLIENT_ID, MGMT_CLIENT_SECRET } = await bulla.managementClient();
  const status = await run(process.execPath, ['--test', '--test-concurrency=1', ...tests.sort()], {
    cwd: here,
    env: {
      ...process.env,
      NODE_EXTRA_CA_CERTS: CA_FILE,
      BULLA: binary,
      BULLA_DATA: bulla.data,
      API: api,
      MACHINE: machine,
      WORK: work,
      SCREENSHOTS: screenshots,
      ISSUER, CA_FILE, MGMT_CLIENT_ID, MGMT_CLIENT_SECRET,
    },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  failed = status !== 0;
} catch (err) {
  failed = true;
  console.error(`journeys: ${err.message}`);
} finally {
  if (bulla) {
    const end = await bulla.stop();
    if (end !== 'exit status 0') {
      failed = true;
      console.error(`journeys: bulla ended with ${end} after SIGTERM, want exit status 0`);
    }
    if (failed) console.error(`--- the server's log, its last lines:\n${bulla.log().split('\n').slice(-60).join('\n')}`);
  }
  await rm(work, { recursive: true, force: true });
}
console.log(`journeys: screenshots in ${screenshots}`);
process.exitCode = failed ? 1 : 0;
