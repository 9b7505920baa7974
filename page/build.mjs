// Writes the page into the package: npm run build, or make page. With a folder: there.
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { build } from "esbuild";

const folder = process.argv[2] ?? "../serving/http/page";
await rm(folder, { recursive: true, force: true });
await mkdir(folder, { recursive: true });
const { metafile } = await build({
  entryPoints: ["src/page.tsx", "src/icon.svg"],
  outdir: folder,
  entryNames: "[name]-[hash]",
  bundle: true,
  minify: true,
  format: "esm",
  target: ["chrome111", "firefox115", "safari16.4"],
  jsx: "automatic",
  jsxImportSource: "preact",
  loader: { ".svg": "copy" },
  metafile: true,
});
const written = Object.keys(metafile.outputs).map((path) => basename(path));
let html = await readFile("src/index.html", "utf8");
for (const kind of ["js", "css", "svg"]) {
  html = html.replace(
    `{${kind}}`,
    written.find((name) => name.endsWith(`.${kind}`)),
  );
}
await writeFile(join(folder, "index.html"), html);
