// Runs a client that is a program of its own.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/**
 * Runs a program in an empty home with nothing of this environment but PATH. Resolves to what it printed on
 * standard output; a failure has the last lines of everything.
 */
export function run(program, args, env, limitSeconds) {
  const home = mkdtempSync(join(tmpdir(), "client-"));
  const child = spawn(program, args, {
    cwd: home,
    env: { PATH: process.env.PATH, HOME: home, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let text = "";
  let output = "";
  child.stdout.on("data", (data) => {
    text += data;
    output += data;
  });
  child.stderr.on("data", (data) => (text += data));
  const timer = setTimeout(() => child.kill("SIGKILL"), limitSeconds * 1000);
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => {
      clearTimeout(timer);
      rmSync(home, { recursive: true, force: true });
      const last = text.trim().split("\n").slice(-3).join(" | ").slice(0, 300);
      if (code === 0) resolve(output.trim());
      else reject(Object.assign(new Error(last), { name: code === null ? "still waits" : `exit ${code}` }));
    });
  });
}
