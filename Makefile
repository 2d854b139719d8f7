# The everyday commands. CI runs .ci/run, which is all of them and more.
.DEFAULT_GOAL := help
GO ?= go
FUZZTIME ?= 30s

.PHONY: help demo test race examples lint fuzz bench mutants cover doc ci

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## run the demo: no AWS account needed
	$(GO) -C examples run ./sync -demo

test: ## test the library
	$(GO) test ./...

race: ## test the library under the race detector
	$(GO) test -race ./...

examples: ## build and test every module under examples/
	.ci/run examples

lint: ## gofmt, go mod tidy, go vet and staticcheck, in every module
	.ci/run lint

fuzz: ## fuzz every parser for FUZZTIME (30s) each
	@set -e; for package in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz'); do \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$package; \
		done; \
	done

bench: ## measure: quota, cost per event, capacity
	$(GO) test -run '^$$' -bench . -benchtime 1x ./...

mutants: ## break the library on purpose and see the tests fail
	.ci/run mutants

cover: ## which statements the tests reach
	$(GO) test -coverpkg=./... -coverprofile=cover.out ./...
	$(GO) tool cover -func=cover.out

doc: ## the library's documentation
	$(GO) doc -all .

ci: ## everything that CI runs
	bash .ci/run
