package phases

import "hamigrate/migrate"

// Strategy is how an API server is restarted.
type Strategy string

// The strategies that an operator chooses from: beside a second API server that
// answers meanwhile, or plainly, with the outage that the plan names.
const (
	Overlap Strategy = "overlap"
	InPlace Strategy = "in-place"
)

// BackInPlace is the way back of a phase that was done with Overlap, without a
// second API server, where none fits on the node any more. No phase is done so.
const BackInPlace Strategy = "overlap-back-in-place"

// FacetStrategy is the facet of a step that only one strategy has.
const FacetStrategy migrate.Facet = "strategy"

// Choice is the strategy as the answer to FacetStrategy.
func (s Strategy) Choice() migrate.Choice { return migrate.Choice{FacetStrategy: string(s)} }

// When is for a step that is done with these strategies alone.
func When(strategies ...Strategy) migrate.When {
	return migrate.When{FacetStrategy: Answers(strategies...)}
}

// Answers are strategies as answers to FacetStrategy.
func Answers(strategies ...Strategy) []string {
	var out []string
	for _, s := range strategies {
		out = append(out, string(s))
	}
	return out
}

// StrategyOf is the strategy of a choice, "" where it has none.
func StrategyOf(c migrate.Choice) Strategy { return Strategy(c[FacetStrategy]) }
