// The items of an answer, best first.

import type { ComponentChildren } from "preact";
import { useRef } from "preact/hooks";
import { useMovingItems } from "./moving";
import { addressOf } from "./place";
import type { Dataset, RankedItem, Reason, Recommendations } from "./shapes";
import { TechnicalReasons } from "./technical_reasons";
import { changed } from "./wish";
import { about, named, percent } from "./words";

const SHOWN = 2; // reasons; the others are a click away
const MOST = 3; // as `explain` has them: the sources of an item are too many for a shopper

interface Props {
  answer: Recommendations;
  dataset: Dataset;
  userId: string;
  options: URLSearchParams;
  isBusy: boolean;
  onOpen?: ((itemId: string) => void) | undefined;
  beside?: (item: RankedItem, place: number) => ComponentChildren;
}

export function RankedList(props: Props) {
  const { answer, dataset, userId, options, isBusy, onOpen, beside } = props;
  const { items, is_chance: isChance } = answer;
  const list = useRef<HTMLOListElement>(null);
  useMovingItems(list, items.map((item) => item.item_id).join("\n"));
  const best = Math.max(...items.map((item) => item.score ?? 0), 0);
  return (
    <ol class="ranked" ref={list} aria-busy={isBusy}>
      {items.map((item, at) => (
        <li key={item.item_id} data-key={item.item_id}>
          <span class="rank number" aria-hidden="true">
            {at + 1}
          </span>
          <div class="what">
            <h3>
              <a
                href={addressOf("item", item.item_id, changed(options, { for: userId }))}
                onClick={() => onOpen?.(item.item_id)}
              >
                {named(item.title, item.item_id)}
              </a>
              {item.cold && (
                <span class="badge cold" title="Nobody has acted on it yet">
                  new here
                </span>
              )}
            </h3>
            <About columns={item.columns} />
            <Reasons reasons={item.reasons} />
          </div>
          <Scores item={item} best={best} isChance={isChance} isRated={dataset.rated} />
          {beside && <div class="beside">{beside(item, at)}</div>}
          <TechnicalReasons reasons={item.reasons} title={named(item.title, item.item_id)} />
        </li>
      ))}
    </ol>
  );
}

export function About({ columns }: { columns: RankedItem["columns"] }) {
  const text = about(columns);
  return text ? (
    <p class="about quiet small" title={text}>
      {text}
    </p>
  ) : null;
}

function Reasons({ reasons }: { reasons: Reason[] }) {
  const told = reasons.filter(({ kind }) => kind !== "signal" && kind !== "fact").slice(0, MOST);
  const liked = told.filter((reason) => reason.item_id !== null);
  const texts = [...new Set([...liked, ...told].map((reason) => reason.text))];
  if (!texts.length) return null;
  const rest = texts.slice(SHOWN);
  return (
    <div class="reasons small">
      <p>{texts.slice(0, SHOWN).join(" · ")}</p>
      {rest.length > 0 && (
        <details>
          <summary>
            {rest.length} more
            <span class="unseen"> reasons</span>
          </summary>
          <ul>
            {rest.map((text) => (
              <li key={text}>{text}</li>
            ))}
          </ul>
        </details>
      )}
    </div>
  );
}

interface ScoresProps {
  item: RankedItem;
  best: number;
  isChance: boolean;
  isRated: boolean;
}

/** A score that is no chance orders the items and says no more: their places show the order. */
function Scores({ item, best, isChance, isRated }: ScoresProps) {
  const score = item.score ?? 0;
  return (
    <div class="scores number">
      {isChance && (
        <div title="How likely it is chosen next, of the items that were ranked">
          {percent(score)}
          <span class="bar" aria-hidden="true">
            <span style={{ width: `${best ? (100 * score) / best : 0}%` }} />
          </span>
          <span class="quiet small">chosen next</span>
        </div>
      )}
      {isRated && item.liked !== null && (
        <div class="quiet small" title="How likely it is liked, once it was chosen">
          {percent(item.liked)} liked, if chosen
        </div>
      )}
    </div>
  );
}
