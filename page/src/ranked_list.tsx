// The items of an answer, best first.

import type { ComponentChildren } from "preact";
import { useRef } from "preact/hooks";
import { useMovingItems } from "./moving";
import { addressOf } from "./place";
import type { RankedItem, Reason } from "./shapes";
import { changed } from "./wish";
import { named, percent } from "./words";

const SHOWN = 2; // reasons; the others are a click away

interface Props {
  items: RankedItem[];
  userId: string;
  options: URLSearchParams;
  isBusy: boolean;
  beside?: (item: RankedItem, place: number) => ComponentChildren;
}

export function RankedList({ items, userId, options, isBusy, beside }: Props) {
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
              <a href={addressOf("item", item.item_id, changed(options, { for: userId }))}>
                {named(item.title, item.item_id)}
              </a>
              <Badges item={item} />
            </h3>
            <Reasons reasons={item.reasons} />
          </div>
          <Scores item={item} best={best} />
          {beside && <div class="beside">{beside(item, at)}</div>}
        </li>
      ))}
    </ol>
  );
}

function Badges({ item }: { item: RankedItem }) {
  return (
    <>
      {item.sources.includes("fresh") && <span class="badge new">new</span>}
      {item.cold && (
        <span class="badge cold" title="Nobody has acted on it yet">
          cold
        </span>
      )}
    </>
  );
}

function Reasons({ reasons }: { reasons: Reason[] }) {
  const liked = reasons.filter((reason) => reason.item_id !== null);
  const texts = [...new Set([...liked, ...reasons].map((reason) => reason.text))];
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

function Scores({ item, best }: { item: RankedItem; best: number }) {
  const score = item.score ?? 0;
  return (
    <div class="scores number">
      <div title="How likely it is chosen next, among the items that were ranked">
        <span class="unseen">Score </span>
        {percent(score)}
        <span class="bar" aria-hidden="true">
          <span style={{ width: `${best ? (100 * score) / best : 0}%` }} />
        </span>
      </div>
      {item.liked !== null && (
        <div class="quiet small" title="How likely it is liked, once it was chosen">
          {percent(item.liked)} liked
        </div>
      )}
    </div>
  );
}
