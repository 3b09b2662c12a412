/** The style sheet of report.html: one column that suits a phone, and colours for light and dark. */

/** Number of colours `--hue-0` … that the sheet defines; 0 is the teacher's grey. */
export const hueCount = 8

/** Colours by name: of the page, and of what is drawn on it. */
export const colours = {
  light:
    '--paper:#fcfcfb;--ink:#1d1f23;--soft:#5f646d;--line:#e2e3e6;--card:#f2f3f5;--heat:#1f5fbf;' +
    '--hue-0:#62666f;--hue-1:#1f5fbf;--hue-2:#c2541b;--hue-3:#14804a;--hue-4:#8a4bc4;--hue-5:#0c7f92;--hue-6:#b8377e;--hue-7:#86690a',
  dark:
    '--paper:#15171a;--ink:#e8e9eb;--soft:#a2a7b0;--line:#33373e;--card:#1f2226;--heat:#6ea8ff;' +
    '--hue-0:#b3b7bf;--hue-1:#6ea8ff;--hue-2:#f2935c;--hue-3:#52c288;--hue-4:#c295f2;--hue-5:#4fc3d6;--hue-6:#f083bb;--hue-7:#d9b64a',
} as const

/** How everything but colours looks. */
export const rules = `*{box-sizing:border-box}
body{margin:0 auto;padding:1.5rem 1rem 4rem;max-width:62rem;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}
h1{font-size:1.6rem;line-height:1.2;margin:0;overflow-wrap:anywhere}
h2{font-size:1.2rem;margin:2.5rem 0 .25rem}
p{margin:.25rem 0 1rem;max-width:44rem}
.soft{color:var(--soft)}
.headline{font-size:1.15rem;margin:1rem 0}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.75rem;margin:1rem 0}
.tiles div{background:var(--card);border-radius:.5rem;padding:.6rem .9rem}
.tiles dt{color:var(--soft);font-size:.85rem}
.tiles dd{margin:0;font-size:1.5rem;font-variant-numeric:tabular-nums}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.92rem;font-variant-numeric:tabular-nums}
th,td{padding:.35rem .6rem;text-align:right;border-bottom:1px solid var(--line);vertical-align:top;white-space:nowrap}
th:first-child{text-align:left;padding-left:0}
thead th{color:var(--soft);font-weight:500;vertical-align:bottom}
tbody th{font-weight:500}
tr.chosen th,tr.chosen td{font-weight:700}
.note{display:block;font-weight:400;font-size:.8rem;color:var(--soft);white-space:normal;min-width:10rem;max-width:20rem}
.wide{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,22rem),1fr));gap:1.5rem}
.maps{display:grid;grid-template-columns:repeat(auto-fit,minmax(9rem,1fr));gap:1rem;max-width:60rem}
.maps figure{max-width:19rem}
.thumbs{display:grid;grid-template-columns:repeat(auto-fill,minmax(6.5rem,1fr));gap:.75rem}.broad{grid-template-columns:repeat(auto-fill,minmax(10.5rem,1fr))}
.thumbs figcaption{font-size:.78rem;line-height:1.25;min-height:2.5em;display:flex;align-items:end;overflow-wrap:anywhere}.chosen figcaption{color:var(--hue-1)}
figure{margin:0;min-width:0}
figcaption{font-size:.9rem;font-weight:600;margin:.5rem 0 .25rem}
h3{font-size:1rem;margin:1.25rem 0 0}
svg{display:block;width:100%;height:auto;overflow:visible;font-family:inherit}
.key{white-space:nowrap}.key span{display:inline-block;width:6rem;height:.7em;margin:0 .35rem;border:1px solid var(--line);background:linear-gradient(90deg,var(--paper),var(--heat))}
.tick,.value{font-size:11px;fill:var(--soft)}
.axis{font-size:11.5px;fill:var(--soft)}
.name{font-size:12px;font-weight:600}
.end{text-anchor:end}.middle{text-anchor:middle}
.value{fill:var(--ink)}.inverse{fill:var(--paper)}
.grid{stroke:var(--line);fill:none}
.line{fill:none;stroke-width:2;stroke-linejoin:round}.strong{stroke-width:3.5}
.mark{fill:none;stroke:var(--ink);stroke-dasharray:3 3}.thin{stroke-width:.1}
.dots{fill:none;stroke-width:3;stroke-linecap:round;stroke-opacity:.55}
.dot{fill-opacity:.55}
.hit circle{opacity:0}.hit circle:hover{opacity:1}
.cells{fill:var(--heat)}.cells path:hover,.bar:hover{stroke:var(--ink);stroke-width:1.5}
.frame{fill:none;stroke:var(--line)}
dl.facts{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem;font-size:.92rem}
dl.facts dt{color:var(--soft)}dl.facts dd{margin:0;overflow-wrap:anywhere}
code{font-family:ui-monospace,Menlo,Consolas,monospace;font-size:.9em}
@media(max-width:30rem){dl.facts{grid-template-columns:1fr}dl.facts dd{margin-bottom:.5rem}th,td{padding:.35rem .4rem}}
`

/** CSS, with nothing fetched from anywhere. */
export const styles = `
:root{color-scheme:light dark;${colours.light}}
@media(prefers-color-scheme:dark){:root{${colours.dark}}}
${rules}`
