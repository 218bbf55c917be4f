// The questions of a run, one after the other; answers are kept in the browser until they are saved.
const at = (id) => document.getElementById(id);
const store = `quiz ${run} ${trials.length}`;
let answers = [], began = 0;
try { answers = JSON.parse(localStorage.getItem(store)) ?? []; } catch { /* begins anew */ }

function keep() {
  try { localStorage.setItem(store, JSON.stringify(answers)); } catch { /* not kept */ }
}

function picture(trial, name, alt) {
  const made = document.createElement("img");
  made.src = `quiz/${trial.name}_${name}.webp`;
  made.alt = alt;
  return made;
}

function show() {
  const trial = trials[answers.length];
  at("question").hidden = !trial;
  at("end").hidden = Boolean(trial);
  at("save").disabled = at("again").disabled = !answers.length;
  if (!trial) { showEnd(); return; }
  at("count").textContent = `Question ${answers.length + 1} of ${trials.length}`;
  const kinds = trial.kind === "both" ? ["patches", "projections"] : [trial.kind];
  at("references").replaceChildren(...kinds.map((kind) => picture(trial, kind, `${kind} of the feature map`)));
  for (const button of at("queries").children)
    button.firstElementChild.src = `quiz/${trial.name}_${button.dataset.side}.webp`;
  began = performance.now();
}

function choose(side) {
  const trial = trials[answers.length];
  if (!trial) return;
  const seconds = Math.round(performance.now() - began) / 1000;
  answers.push({side, right: (side === "left") === trial.left, seconds});
  keep();
  show();
}

function row(...cells) {
  const made = document.createElement("tr");
  for (const [place, text] of cells.entries()) {
    const cell = document.createElement(place ? "td" : "th");
    cell.textContent = text;
    made.append(cell);
  }
  return made;
}

// How often you and the machine were right, by what was shown; 0.5 is chance.
function showEnd() {
  const rows = [row("shown", "you were right", "the machine, on all questions")];
  for (const layer of Object.keys(machine))
    for (const kind of ["patches", "projections", "both"]) {
      const mine = answers.filter((_, n) => trials[n].layer === layer && trials[n].kind === kind);
      const share = mine.filter((one) => one.right).length / mine.length;
      if (mine.length)
        rows.push(row(`${layer}, ${kind}`, `${share.toFixed(2)} of ${mine.length}`, machine[layer][kind].toFixed(2)));
    }
  at("score").replaceChildren(...rows);
}

function save() {
  const quoted = (text) => `"${String(text).replaceAll('"', '""')}"`;
  const lines = ["trial,layer,feature_map,question,references,exciting_side,answer,right,seconds"];
  answers.forEach((one, n) => {
    const {layer, feature_map: map, question, kind, left} = trials[n];
    lines.push([n + 1, quoted(layer), map, question + 1, kind, left ? "left" : "right", one.side,
      Number(one.right), one.seconds].join(","));
  });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([lines.join("\n") + "\n"], {type: "text/csv"}));
  link.download = `answers_${run}.csv`;
  link.click();
}

for (const button of at("queries").children)
  button.addEventListener("click", () => choose(button.dataset.side));
document.addEventListener("keydown", (event) => {
  const side = {ArrowLeft: "left", ArrowRight: "right"}[event.key];
  if (side && !event.altKey && !event.ctrlKey && !event.metaKey) choose(side);
});
at("save").addEventListener("click", save);
at("again").addEventListener("click", () => { answers = []; keep(); show(); });
show();
