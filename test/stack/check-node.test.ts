import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { runProgram } from '../../stack/run-program.ts';

const guard = fileURLToPath(new URL('../../stack/check-node.mjs', import.meta.url));

async function runAs(version: string): Promise<{ code: number | null; stderr: string }> {
  const pretend = `data:text/javascript,Object.defineProperty(process,'version',{value:'${version}'})`;
  return await runProgram(process.execPath, ['--import', pretend, guard]);
}

test.each(['v14.21.3', 'v20.20.2', 'v26.10.0'])('Node %s is refused with a way out', async (version) => {
  const { code, stderr } = await runAs(version);
  expect(code).toBe(1);
  expect(stderr).toContain(`needs Node 24; this is Node ${version}`);
  expect(stderr).toContain('npm ci');
});

test('Node 24 passes in silence', async () => {
  expect(await runAs('v24.21.0')).toMatchObject({ code: 0, stdout: '', stderr: '' });
});
