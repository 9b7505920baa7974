// The same question to two versions of the model, side by side.

import { AnswerFacts, AnswerNotes } from "./answer_notes";
import { useAnswer, type Asked } from "./asking";
import { Controls } from "./controls";
import { addressOf, go, type Place } from "./place";
import { RankedList } from "./ranked_list";
import { service } from "./service";
import type { Dataset, ModelVersion, RankedItem, Recommendations } from "./shapes";
import { UserPicker } from "./user_picker";
import { Welcome } from "./welcome";
import { changed, readWish } from "./wish";
import { percent } from "./words";

interface Props {
  place: Place;
  dataset: Dataset;
  models: ModelVersion[];
}

export function CompareView({ place, dataset, models }: Props) {
  const { id: userId, options } = place;
  if (models.length < 2) return <OnlyOne model={models[0]?.name ?? ""} />;
  if (!userId) return <Welcome view="compare" />;
  return <TwoLists userId={userId} options={options} dataset={dataset} models={models} />;
}

function OnlyOne({ model }: { model: string }) {
  return (
    <div class="card narrow">
      <h1>One version answers here</h1>
      <p>
        It is <code>{model}</code>. A second one can be asked too, once it has a share of the users
        or is the shadow, which answers nobody:
      </p>
      <pre class="code">feast-fusion models promote VERSION --shadow</pre>
      <p class="quiet">The service takes it up within seconds; then load this page again.</p>
    </div>
  );
}

function TwoLists({
  userId,
  options,
  dataset,
  models,
}: Omit<Props, "place"> & { userId: string; options: URLSearchParams }) {
  const names = models.map((model) => model.name);
  const sides = [
    options.get("left") ?? names[0] ?? "",
    options.get("right") ?? names[1] ?? "",
  ] as const;
  const wish = readWish(userId, options);
  const useSide = (model: string) =>
    useAnswer(JSON.stringify({ ...wish, model }), (signal) =>
      service.recommend({ ...wish, model }, signal),
    );
  const found = [useSide(sides[0]), useSide(sides[1])] as const;
  const set = (asked: URLSearchParams) => go(addressOf("compare", userId, asked));
  return (
    <>
      <div class="title">
        <h1>Two models for {userId}</h1>
        <Agreement left={found[0].answer} right={found[1].answer} />
      </div>
      <div class="above">
        <UserPicker
          userId={userId}
          onPick={(picked) => go(addressOf("compare", picked, options))}
        />
        <Controls dataset={dataset} options={options} problem={found[0].problem} onChange={set} />
      </div>
      <div class="sides">
        {([0, 1] as const).map((at) => (
          <Side
            key={at}
            name={at ? "right" : "left"}
            model={sides[at]}
            dataset={dataset}
            models={models}
            found={found[at]}
            other={found[1 - at]?.answer?.items ?? []}
            userId={userId}
            options={options}
            onModel={(model) => set(changed(options, { [at ? "right" : "left"]: model }))}
          />
        ))}
      </div>
    </>
  );
}

interface SideProps {
  name: string;
  model: string;
  dataset: Dataset;
  models: ModelVersion[];
  found: Asked<Recommendations>;
  other: RankedItem[];
  userId: string;
  options: URLSearchParams;
  onModel: (model: string) => void;
}

function Side({ name, model, dataset, models, found, other, userId, options, onModel }: SideProps) {
  const places = new Map(other.map((item, at) => [item.item_id, at]));
  return (
    <section aria-labelledby={`${name}-title`}>
      <h2 class="unseen" id={`${name}-title`}>
        Model {model}
      </h2>
      <div class="field">
        <label for={`${name}-model`}>Model</label>
        <select
          id={`${name}-model`}
          value={model}
          onChange={(event) => onModel(event.currentTarget.value)}
        >
          {models.map((each) => (
            <option key={each.name} value={each.name}>
              {each.name} ({each.is_shadow ? "shadow" : `${percent(each.share)} of users`})
            </option>
          ))}
        </select>
      </div>
      {found.answer && <AnswerFacts answer={{ ...found.answer, model: null }} />}
      <AnswerNotes answer={found.answer} problem={found.problem} />
      {found.answer && (
        <RankedList
          answer={found.answer}
          dataset={dataset}
          userId={userId}
          options={options}
          isBusy={found.isWaiting}
          beside={(item, at) => <Moved by={places.get(item.item_id)} at={at} />}
        />
      )}
    </section>
  );
}

/** Where the other model has an item that is at the place `at` here. */
function Moved({ by: other, at }: { by: number | undefined; at: number }) {
  if (other === undefined) return <span class="badge only">only here</span>;
  const steps = other - at;
  if (steps === 0) {
    return (
      <span class="quiet small">
        <span aria-hidden="true">=</span>
        <span class="unseen">same place</span>
      </span>
    );
  }
  return (
    <span class={`small number ${steps > 0 ? "up" : "down"}`}>
      <span aria-hidden="true">{steps > 0 ? "▲" : "▼"}</span> {Math.abs(steps)}
      <span class="unseen"> {steps > 0 ? "higher" : "lower"} than there</span>
    </span>
  );
}

function Agreement({
  left,
  right,
}: {
  left: Recommendations | null;
  right: Recommendations | null;
}) {
  if (!left || !right) return null;
  const there = new Set(right.items.map((item) => item.item_id));
  const n = left.items.filter((item) => there.has(item.item_id)).length;
  return (
    <p class="quiet small number">
      {n} of {left.items.length} are in both
    </p>
  );
}
