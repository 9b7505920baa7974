// One item: what is known of it, what is near to it.

import { useAnswer } from "./asking";
import { Feedback } from "./feedback";
import { addressOf, type Place } from "./place";
import { ProblemNote } from "./problem_note";
import { service } from "./service";
import type { Dataset, ItemRecord, SimilarItem, Value } from "./shapes";
import { changed } from "./wish";
import { named, plain, written } from "./words";

interface Props {
  itemId: string;
  place: Place;
  dataset: Dataset;
}

export function ItemView({ itemId, place, dataset }: Props) {
  const found = useAnswer(itemId, (signal) => service.item(itemId, signal));
  const userId = place.options.get("for") ?? "";
  const { answer, problem } = found;
  return (
    <article class="item" aria-labelledby="item">
      {userId && (
        <p class="small">
          <a href={addressOf("for", userId, changed(place.options, { for: "" }))}>← For {userId}</a>
        </p>
      )}
      <div class="title">
        <h1 id="item">{answer ? named(answer.title, itemId) : itemId}</h1>
        {answer && <Badges record={answer} />}
      </div>
      {problem && <ProblemNote problem={problem} onRetry={found.again} />}
      {answer && userId && (
        <Feedback
          userId={userId}
          item={{ item_id: itemId, title: answer.title }}
          dataset={dataset}
          isEach
          onApplied={found.again}
        />
      )}
      {answer && (
        <div class="halves">
          <div>
            <Values title="Features" values={answer.item} />
            <Values title="Written attributes" values={answer.attributes} />
            <Values title="Statistics" values={told(answer.statistics, dataset)} />
          </div>
          <Nearest itemId={itemId} options={place.options} isEncoded={answer.is_encoded} />
        </div>
      )}
    </article>
  );
}

function Badges({ record }: { record: ItemRecord }) {
  const events = record.statistics["item_n_events"];
  return (
    <p>
      {record.is_available ? (
        <span class="badge good">available</span>
      ) : (
        <span class="badge only">not available</span>
      )}
      {!events && <span class="badge cold">new here</span>}
      {!record.is_encoded && <span class="badge only">no vector</span>}
    </p>
  );
}

/** Where every event is positive, how many of them are says nothing. */
function told(statistics: ItemRecord["statistics"], dataset: Dataset): ItemRecord["statistics"] {
  if (dataset.explicit) return statistics;
  return Object.fromEntries(
    Object.entries(statistics).filter(([name]) => !name.includes("positive")),
  );
}

function Values({ title, values }: { title: string; values: Record<string, Value> }) {
  const shown = Object.entries(values).filter(([, value]) => value !== null);
  if (!shown.length) return null;
  return (
    <section>
      <h2>{title}</h2>
      <dl class="values">
        {shown.map(([name, value]) => (
          <div key={name}>
            <dt>{plain(name)}</dt>
            <dd class={typeof value === "number" ? "number" : undefined}>{written(name, value)}</dd>
          </div>
        ))}
      </dl>
    </section>
  );
}

interface NearestProps {
  itemId: string;
  options: URLSearchParams;
  isEncoded: boolean;
}

function Nearest({ itemId, options, isEncoded }: NearestProps) {
  const { answer, problem } = useAnswer(itemId, (signal) => service.similar(itemId, signal));
  return (
    <section aria-labelledby="nearest">
      <h2 id="nearest">Nearest items</h2>
      {problem && isEncoded && <ProblemNote problem={problem} />}
      {!isEncoded && <p class="quiet">It has no vector, so nothing is near to it.</p>}
      {answer && (
        <ol class="nearest">
          {answer.items.map((item) => (
            <Near key={item.item_id} item={item} options={options} />
          ))}
        </ol>
      )}
    </section>
  );
}

function Near({ item, options }: { item: SimilarItem; options: URLSearchParams }) {
  return (
    <li>
      <a href={addressOf("item", item.item_id, options)}>{named(item.title, item.item_id)}</a>
      <span class="number small quiet" title="Cosine of the vectors">
        {item.cosine.toFixed(2)}
        <span class="bar" aria-hidden="true">
          <span style={{ width: `${100 * Math.max(0, item.cosine)}%` }} />
        </span>
      </span>
    </li>
  );
}
