// What is recommended to one user, and how it follows what the user does.

import { AnswerFacts, AnswerNotes } from "./answer_notes";
import { useAnswer } from "./asking";
import { Controls } from "./controls";
import { Feedback } from "./feedback";
import { HistoryList } from "./history_list";
import { addressOf, go, type Place } from "./place";
import { RankedList } from "./ranked_list";
import { service } from "./service";
import type { Dataset } from "./shapes";
import { UserPicker } from "./user_picker";
import { Welcome } from "./welcome";
import { useVisit, type Visit } from "./visit";
import { readWish } from "./wish";

export function ForView({ place, dataset }: { place: Place; dataset: Dataset }) {
  if (!place.id) return <Welcome />;
  return <ForUser userId={place.id} options={place.options} dataset={dataset} />;
}

interface Props {
  userId: string;
  options: URLSearchParams;
  dataset: Dataset;
}

function ForUser({ userId, options, dataset }: Props) {
  const visit = useVisit(userId);
  const wish = { ...readWish(userId, options), session: visit.items };
  const found = useAnswer(JSON.stringify(wish), (signal) => service.recommend(wish, signal));
  const history = useAnswer(userId, (signal) => service.history(userId, signal));
  const follow = () => {
    found.again();
    history.again();
  };
  const isOf = <T extends { user_id: string }>(each: T | null) =>
    each?.user_id === userId ? each : null;
  const answer = isOf(found.answer); // that of the user before stays until then
  const isVisitor = isOf(history.answer)?.events.length === 0;
  return (
    <div class="columns">
      <aside aria-label="User">
        <UserPicker userId={userId} onPick={(picked) => go(addressOf("for", picked, options))} />
        <HistoryList
          answer={isOf(history.answer)}
          problem={history.problem}
          userId={userId}
          options={options}
          dataset={dataset}
        />
      </aside>
      <section aria-labelledby="list">
        <div class="title">
          <h1 id="list">For {userId}</h1>
          {answer && (
            <AnswerFacts answer={answer} isVisit={isVisitor && visit.items.length > 0} />
          )}
        </div>
        <Controls
          dataset={dataset}
          options={options}
          problem={found.problem}
          onChange={(asked) => go(addressOf("for", userId, asked))}
        />
        <AnswerNotes answer={answer} problem={found.problem} />
        {answer && answer.items.length === 0 && (
          <p class="note">No item is left: what passes the filter was had or is not available.</p>
        )}
        {visit.items.length > 0 && <VisitNote visit={visit} />}
        <h2 class="unseen">Best items</h2>
        {answer && (
          <RankedList
            answer={answer}
            dataset={dataset}
            userId={userId}
            options={options}
            isBusy={found.isWaiting}
            onOpen={isVisitor ? visit.open : undefined}
            beside={(item) => (
              <Feedback userId={userId} item={item} dataset={dataset} onApplied={follow} />
            )}
          />
        )}
      </section>
    </div>
  );
}

/** Nothing of a visit is an event: it counts for these answers, and the service keeps none of it. */
function VisitNote({ visit }: { visit: Visit }) {
  const n = visit.items.length;
  return (
    <p class="note visit">
      {n === 1 ? "1 item" : `${n} items`} opened on this visit {n === 1 ? "counts" : "count"} and{" "}
      {n === 1 ? "is" : "are"} kept nowhere.{" "}
      <button type="button" onClick={visit.forget}>
        Forget
      </button>
    </p>
  );
}
