// Child processes: run one to its end, start one and wait for its ready line.

import { spawn } from 'node:child_process';
import { access, constants } from 'node:fs/promises';
import { createServer } from 'node:net';
import { delimiter, join } from 'node:path';

// which finds a program on the PATH; undefined if it is not there.
export async function which(program) {
  for (const dir of process.env.PATH.split(delimiter)) {
    const file = join(dir, program);
    try {
      await access(file, constants.X_OK);
      return file;
    } catch {} // not in this directory
  }
  return undefined;
}

// need fails with the names of all programs that are missing.
export async function need(...programs) {
  const missing = [];
  for (const program of programs) if (!(await which(program))) missing.push(program);
  if (missing.length > 0) throw new Error(`not installed: ${missing.join(', ')} (on Debian, as root: .ci/install-packages)`);
}

// run runs a program to its end and returns its exit status (128 for a signal).
export function run(program, args, options) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, options);
    child.on('error', reject);
    child.on('close', (code) => resolve(code ?? 128));
  });
}

// output runs a program to its end and returns its standard output. input is what it
// reads. Any exit status but 0 is an error that carries its standard error.
export function output(program, args, { env, input = '', cwd } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd, env: { ...process.env, ...env }, stdio: ['pipe', 'pipe', 'pipe'] });
    let out = '';
    let err = '';
    child.stdout.setEncoding('utf8').on('data', (s) => (out += s));
    child.stderr.setEncoding('utf8').on('data', (s) => (err += s));
    child.on('error', reject);
    child.on('close', (code) => (code === 0 ? resolve(out) : reject(new Error(`${program} ${args.join(' ')}: exit status ${code}\n${err}`))));
    child.stdin.on('error', () => {}); // it may end without reading
    child.stdin.end(input);
  });
}

// start starts a program and waits for its first line on standard output, which must
// begin with prefix. Returns {line, stop, log}: stop sends SIGTERM, waits and says how it
// ended ("exit status 0").
export function start(program, args, prefix, { env, millis = 30_000 } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    let out = '';
    let log = '';
    let ready = false;
    const ended = new Promise((done) => child.on('close', (code, signal) => done(signal ?? `exit status ${code}`)));
    const timer = setTimeout(() => fail(`no "${prefix}" within ${millis} ms`), millis);
    function fail(why) {
      clearTimeout(timer);
      child.kill('SIGKILL');
      reject(new Error(`${program}: ${why}\n${out}${log}`));
    }
    async function stop() {
      child.kill('SIGTERM');
      const late = setTimeout(() => child.kill('SIGKILL'), 30_000);
      const end = await ended;
      clearTimeout(late);
      return end;
    }
    child.on('error', (err) => fail(err.message));
    ended.then((end) => ready || fail(`ended with ${end}`));
    child.stderr.setEncoding('utf8').on('data', (s) => (log = (log + s).slice(-200_000)));
    child.stdout.setEncoding('utf8').on('data', (s) => {
      if (ready) return;
      out += s;
      const end = out.indexOf('\n');
      if (end < 0) return;
      const line = out.slice(0, end).trimEnd();
      if (!line.startsWith(prefix)) return fail(`its first line is not "${prefix}…"`);
      ready = true;
      clearTimeout(timer);
      resolve({ line, stop, log: () => log });
    });
  });
}

// freePort returns a port of localhost that was free a moment ago.
export function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', reject);
    server.listen(0, 'localhost', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

// buildExample builds one of our Go examples into dir and returns the program's path.
export async function buildExample(root, name, dir) {
  const file = join(dir, name);
  await output(process.env.GO || 'go', ['build', '-o', file, `./examples/${name}`], { cwd: root, env: { CGO_ENABLED: '0' } });
  return file;
}
