// What an answer says of itself: who the user is, what it lacks, what was understood.

import { ProblemNote } from "./problem_note";
import type { Problem } from "./service";
import type { Recommendations } from "./shapes";
import { count, milliseconds } from "./words";

const USERS: Record<Recommendations["user"], string> = {
  known: "known user",
  profile_only: "a profile, no history",
  unknown: "unknown user",
};

export function AnswerNotes({
  answer,
  problem,
}: {
  answer: Recommendations | null;
  problem: Problem | null;
}) {
  return (
    <>
      {problem && !problem.of("filter") && <ProblemNote problem={problem} />}
      {answer?.degraded && (
        <p class="note warn" role="alert">
          Answered without something that is normally there: {answer.reasons.join(", ")}.
        </p>
      )}
      {answer?.understood && answer.understood.length > 0 && (
        <ul class="understood" aria-label="What was understood">
          {answer.understood.map(({ column, value, sense }) => (
            <li key={`${column} ${value} ${sense}`}>
              <span class="quiet">{column}</span> {sense === "refused" && "not "}
              {value}
            </li>
          ))}
        </ul>
      )}
      {answer?.portrait && <p class="portrait">{answer.portrait}</p>}
    </>
  );
}

interface FactsProps {
  answer: Recommendations;
  isVisit?: boolean; // a visit is all that is known of the user
}

export function AnswerFacts({ answer, isVisit = false }: FactsProps) {
  const facts = [
    isVisit ? "known by this visit" : USERS[answer.user],
    `${count(answer.n_candidates)} ranked`,
    `${milliseconds(answer.latency_ms)} ms`,
    answer.model && `model ${answer.model}`,
  ];
  return <p class="quiet small number">{facts.filter(Boolean).join(" · ")}</p>;
}
