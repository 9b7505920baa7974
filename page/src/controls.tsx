// How many, what is looked for, what is let through, and what the order serves.

import { useEffect, useRef, useState } from "preact/hooks";
import { FilterField } from "./filter_field";
import type { Problem } from "./service";
import type { Dataset } from "./shapes";
import { changed, COUNTS, readNumber } from "./wish";

interface Props {
  dataset: Dataset;
  options: URLSearchParams;
  problem: Problem | null;
  onChange: (options: URLSearchParams) => void;
}

export function Controls({ dataset, options, problem, onChange }: Props) {
  const set = (change: Record<string, string>) => onChange(changed(options, change));
  const isTuned = ["satisfaction", "value", "diversity", "most"].some((name) => options.has(name));
  return (
    <form
      class="controls"
      aria-label="What to recommend"
      onSubmit={(event) => event.preventDefault()}
    >
      <TextField
        name="query"
        label="Looking for"
        placeholder="In words: a heist with a twist"
        value={options.get("query") ?? ""}
        onSettle={(query) => set({ query })}
      />
      <FilterField
        columns={dataset.columns}
        value={options.get("filter") ?? ""}
        problem={problem?.of("filter")}
        onSettle={(filter) => set({ filter })}
      />
      <div class="field count">
        <label for="n">Items</label>
        <select
          id="n"
          value={options.get("n") ?? "10"}
          onChange={(event) => set({ n: event.currentTarget.value })}
        >
          {COUNTS.map((n) => (
            <option key={n}>{n}</option>
          ))}
        </select>
      </div>
      <details class="tuning" open={isTuned}>
        <summary>Order and variety</summary>
        <div class="sliders">
          {dataset.explicit && (
            <Slider
              name="satisfaction"
              label="Satisfaction"
              title="How much it counts that the item will be liked"
              most={2}
              usual={dataset.objective.satisfaction}
              options={options}
              onSet={set}
            />
          )}
          <Slider
            name="value"
            label="Value"
            title="How much it counts what events of the item are worth"
            most={2}
            usual={dataset.objective.value}
            options={options}
            onSet={set}
          />
          <Slider
            name="diversity"
            label="Diversity"
            title="Towards 1: texts that differ"
            most={1}
            usual={dataset.variety.diversity}
            options={options}
            onSet={set}
          />
          {dataset.categorical.length > 0 && (
            <AtMost columns={dataset.categorical} options={options} onSet={set} />
          )}
        </div>
      </details>
    </form>
  );
}

interface TextFieldProps {
  name: string;
  label: string;
  placeholder: string;
  value: string;
  onSettle: (value: string) => void;
}

function TextField({ name, label, placeholder, value, onSettle }: TextFieldProps) {
  const [text, setText] = useSettled(value, onSettle);
  return (
    <div class="field">
      <label for={name}>{label}</label>
      <input
        id={name}
        type="search"
        maxLength={4096}
        placeholder={placeholder}
        value={text}
        onInput={(event) => setText(event.currentTarget.value)}
      />
    </div>
  );
}

/** A text that is being typed: told when it has rested for a moment. */
export function useSettled(
  value: string,
  onSettle: (value: string) => void,
): [string, (text: string) => void] {
  const [text, setText] = useState(value);
  const newest = useRef(onSettle); // other options may change while this one rests
  newest.current = onSettle;
  useEffect(() => setText(value), [value]);
  useEffect(() => {
    if (text === value) return;
    const rested = setTimeout(() => newest.current(text), 450);
    return () => clearTimeout(rested);
  }, [text]);
  return [text, setText];
}

interface OptionProps {
  options: URLSearchParams;
  onSet: (change: Record<string, string>) => void;
}

interface SliderProps extends OptionProps {
  name: string;
  label: string;
  title: string;
  most: number;
  usual: number;
}

function Slider({ name, label, title, most, usual, options, onSet }: SliderProps) {
  const value = readNumber(options, name) ?? usual;
  const [shown, setShown] = useState(value);
  useEffect(() => setShown(value), [value]);
  return (
    <div class="field" title={title}>
      <label for={name}>
        {label} <output class="number quiet">{shown.toFixed(2)}</output>
      </label>
      <input
        id={name}
        type="range"
        min={0}
        max={most}
        step={0.05}
        value={shown}
        onInput={(event) => setShown(event.currentTarget.valueAsNumber)}
        onChange={(event) => {
          const chosen = event.currentTarget.valueAsNumber;
          onSet({ [name]: chosen === usual ? "" : String(chosen) });
        }}
      />
    </div>
  );
}

function AtMost({ columns, options, onSet }: OptionProps & { columns: string[] }) {
  const column = options.get("per") ?? columns[0] ?? "";
  const most = options.get("most") ?? "";
  const [typed, setTyped] = useState(most); // an answer that comes meanwhile must not undo it
  useEffect(() => setTyped(most), [most]);
  return (
    <fieldset class="field">
      <legend>At most, with the same</legend>
      <div class="row">
        <input
          type="number"
          aria-label="At most"
          min={1}
          max={500}
          placeholder="any"
          value={typed}
          onInput={(event) => setTyped(event.currentTarget.value)}
          onChange={(event) =>
            onSet({ most: event.currentTarget.value, per: event.currentTarget.value && column })
          }
        />
        <select
          aria-label="Column"
          value={column}
          onChange={(event) => onSet({ per: event.currentTarget.value })}
        >
          {columns.map((name) => (
            <option key={name}>{name}</option>
          ))}
        </select>
      </div>
    </fieldset>
  );
}
