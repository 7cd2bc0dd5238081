/** Takes one line for the person at the terminal. */
export type Log = (line: string) => void;

export const logToConsole: Log = (line) => console.log(`[espalier] ${line}`);
export const logNothing: Log = () => undefined;
