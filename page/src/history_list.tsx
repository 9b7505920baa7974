// What a user has done lately.

import { addressOf } from "./place";
import { ProblemNote } from "./problem_note";
import { About } from "./ranked_list";
import type { Problem } from "./service";
import type { Dataset, PastEvent, UserHistory } from "./shapes";
import { changed } from "./wish";
import { day, named, short } from "./words";

interface Props {
  answer: UserHistory | null;
  problem: Problem | null;
  userId: string;
  options: URLSearchParams;
  dataset: Dataset;
}

export function HistoryList({ answer, problem, userId, options, dataset }: Props) {
  return (
    <section class="history" aria-labelledby="history">
      <h2 id="history">History</h2>
      {problem && <ProblemNote problem={problem} />}
      {answer && answer.events.length === 0 && (
        <p class="quiet">Nothing yet. What is chosen here counts at once.</p>
      )}
      {answer && answer.events.length > 0 && (
        <ul class="events" tabIndex={0} aria-label="Events, the newest first">
          {answer.events.map((event) => (
            <Event
              key={`${event.item_id} ${event.event_timestamp}`}
              event={event}
              address={addressOf("item", event.item_id, changed(options, { for: userId }))}
              dataset={dataset}
            />
          ))}
        </ul>
      )}
    </section>
  );
}

interface EventProps {
  event: PastEvent;
  address: string;
  dataset: Dataset;
}

function Event({ event, address, dataset }: EventProps) {
  const { item_id, title, value, positive, event_timestamp, columns } = event;
  return (
    <li>
      <span class={positive ? "dot liked" : "dot"} aria-hidden="true" />
      <a href={address}>{named(title, item_id)}</a>
      <About columns={columns} />
      <span class="quiet small number">
        {dataset.rated && <span class="unseen">{positive ? "liked" : "not liked"} </span>}
        {dataset.rated && value !== null && `rated ${short(value)} · `}
        <time dateTime={event_timestamp}>{day(event_timestamp)}</time>
      </span>
    </li>
  );
}
