// A condition on the columns of items; where it is wrong, the place is shown.

import { useSettled } from "./controls";
import type { FieldProblem } from "./service";
import type { Dataset } from "./shapes";

interface Props {
  columns: Dataset["columns"];
  value: string;
  problem: FieldProblem | undefined;
  onSettle: (value: string) => void;
}

export function FilterField({ columns, value, problem, onSettle }: Props) {
  const [text, setText] = useSettled(value, onSettle);
  const isWrong = problem !== undefined && text === value;
  return (
    <div class="field">
      <label for="filter">Only where</label>
      <input
        id="filter"
        class="code"
        type="search"
        spellcheck={false}
        autocomplete="off"
        maxLength={4000}
        placeholder={exampleOf(columns)}
        value={text}
        aria-invalid={isWrong}
        aria-describedby={isWrong ? "filter-problem" : "filter-columns"}
        onInput={(event) => setText(event.currentTarget.value)}
      />
      {isWrong ? (
        <div id="filter-problem" class="problem" role="alert">
          {problem.position !== null && <Pointer text={value} position={problem.position} />}
          <p>{sentenceOf(problem.detail)}</p>
        </div>
      ) : (
        <p id="filter-columns" class="quiet small">
          Columns: {columns.map((each) => each.name).join(", ") || "none"}
        </p>
      )}
    </div>
  );
}

/** The text with the character at `position`, from 1, marked. */
function Pointer({ text, position }: { text: string; position: number }) {
  const at = Math.min(position - 1, text.length);
  return (
    <p class="code pointer">
      {text.slice(0, at)}
      <mark>{text.slice(at, at + 1) || "\u00a0"}</mark>
      {text.slice(at + 1)}
      <span class="quiet small"> character {position}</span>
    </p>
  );
}

function exampleOf(columns: Dataset["columns"]): string {
  const number = columns.find((each) => each.kind === "number");
  const texts = columns.find((each) => each.kind !== "number");
  const parts = [number && `${number.name} > …`, texts && `'…' in ${texts.name}`];
  return parts.filter(Boolean).join(" and ");
}

/** Without the place and the copy of the filter, which are shown above it. */
function sentenceOf(detail: string): string {
  const [sentence = detail] = detail.split("\n", 1);
  return sentence.replace(/^filter, character \d+: /, "");
}
