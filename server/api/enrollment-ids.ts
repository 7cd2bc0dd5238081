/**
 * The ids of `/v1/push/{id[,id…]}` and `/v1/enqueue/…`: the rest of the path, decoded once, then split at commas; nothing is trimmed or left out (nanomdm §4.5).
 * @returns undefined when the path is empty or not decodable
 */
export function readEnrollmentIds(url: string, prefix: string): string[] | undefined {
  const path = url.split('?', 1)[0] ?? '';
  const rest = path.slice(prefix.length);
  if (!path.startsWith(prefix) || rest === '') return undefined;
  try {
    return decodeURIComponent(rest).split(',');
  } catch {
    return undefined;
  }
}

/** The first value of a query parameter. */
export const queryValue = (url: string, name: string): string | undefined =>
  new URLSearchParams(url.split('?')[1] ?? '').get(name) ?? undefined;
