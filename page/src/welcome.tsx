// Before anybody is chosen.

import { useAnswer } from "./asking";
import { addressOf, go, type View } from "./place";
import { ProblemNote } from "./problem_note";
import { service } from "./service";
import { UserPicker } from "./user_picker";
import { count } from "./words";

const SHOWN = 8;

export function Welcome({ view = "for" }: { view?: View }) {
  const { answer, problem } = useAnswer("", (signal) => service.users("", signal));
  return (
    <div class="welcome card">
      <h1>Who is it for?</h1>
      <p class="quiet">
        Take a user of the data, or make one up: somebody new gets an answer too, and it moves with
        the first thing that they choose.
      </p>
      <UserPicker userId="" onPick={(picked) => go(addressOf(view, picked))} />
      {problem && <ProblemNote problem={problem} />}
      {answer && answer.users.length > 0 && (
        <ul class="chips" aria-label="Some users">
          {answer.users.slice(0, SHOWN).map(({ user_id, n_items }) => (
            <li key={user_id}>
              <a href={addressOf(view, user_id)}>
                {user_id} <span class="quiet small number">{count(n_items)} items</span>
              </a>
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}
