import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    globalSetup: ['test/harness/global-setup.ts'],
    include: ['test/**/*.test.ts'],
    // Node's own loader: what the tests accept is what `node` can run.
    experimental: { viteModuleRunner: false },
    pool: 'forks',
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
});
