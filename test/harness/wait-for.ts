/** Waits until `condition` gives something else than false, undefined or null. @throws after the deadline, with the last error if there was one */
export async function waitFor<T>(
  what: string,
  condition: () => Promise<T> | T,
  withinMs = 20_000,
): Promise<NonNullable<Exclude<T, false>>> {
  const deadline = Date.now() + withinMs;
  for (let lastError: unknown; ; ) {
    try {
      const value = await condition();
      if (value !== false && value !== undefined && value !== null) return value as NonNullable<Exclude<T, false>>;
    } catch (error) {
      lastError = error;
    }
    if (Date.now() > deadline) throw new Error(`waited ${withinMs} ms in vain: ${what}`, { cause: lastError });
    await new Promise((resolve) => setTimeout(resolve, 15));
  }
}
