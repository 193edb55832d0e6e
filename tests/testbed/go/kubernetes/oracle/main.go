// The oracle answers by Kubernetes' own code what a quantity means and what a pod holds, so that the tests need not
// trust our reading of it: one JSON object per line on stdin, one on stdout.
//
//	{"quantity": "1.5Gi", "resource": "memory"} -> {"value": "1610612736e0", "units": 1610612736}
//	{"quantity": "lots"}                        -> {"refused": "quantities must match ..."}
//	{"pod": {...}}                              -> {"stored": {...}, "requests": {"cpu": 500, ...}}
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	fwk "k8s.io/kube-scheduler/framework"
	corev1 "k8s.io/kubernetes/pkg/apis/core/v1"
	"k8s.io/kubernetes/pkg/apis/core/v1/helper"
	"k8s.io/kubernetes/pkg/scheduler/framework"
)

type question struct {
	Quantity *string `json:"quantity"`
	Resource string  `json:"resource"`
	Pod      *v1.Pod `json:"pod"`
}

// quantityAnswer holds the exact value, as a decimal with exponent, and what rounding to base units makes of it.
// Units are meaningless where they exceed an int64: apimachinery then gives 0 or a wrapped number.
type quantityAnswer struct {
	Refused string `json:"refused,omitempty"`
	Value   string `json:"value,omitempty"`
	Units   int64  `json:"units"`
}

type podAnswer struct {
	Stored   *v1.Pod          `json:"stored"`
	Requests map[string]int64 `json:"requests"`
}

func main() {
	questions, answers := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var asked question
		if err := questions.Decode(&asked); err == io.EOF {
			return
		} else if err != nil {
			log.Fatalf("not a question: %v", err)
		}
		if err := answers.Encode(answer(asked)); err != nil {
			log.Fatalf("cannot answer: %v", err)
		}
	}
}

func answer(asked question) any {
	if asked.Pod != nil {
		return aboutPod(asked.Pod)
	}
	if asked.Quantity != nil {
		return aboutQuantity(*asked.Quantity, asked.Resource)
	}
	return quantityAnswer{Refused: "ask for a quantity or a pod"}
}

func aboutQuantity(text, name string) quantityAnswer {
	quantity, err := resource.ParseQuantity(text)
	if err != nil {
		return quantityAnswer{Refused: err.Error()}
	}
	units := quantity.MilliValue()
	if name == string(v1.ResourceMemory) {
		units = quantity.Value()
	}
	exact := quantity.AsDec()
	return quantityAnswer{Value: fmt.Sprintf("%se%d", exact.UnscaledBig(), -exact.Scale()), Units: units}
}

// aboutPod gives the pod with the API server's defaults, and what the scheduler's cache then counts it for on its node.
//
// PodInfo.CalculateResource is that count in v1.34 (pkg/scheduler/framework/types.go): PodRequests of
// k8s.io/component-helpers/resource with
//   - UseStatusResources, as InPlacePodVerticalScaling is on (beta since 1.33): of each container or sidecar that has
//     status.resources, the largest of what its spec desires, of what its status says that it has and of
//     allocatedResources; without the spec's where the first PodResizePending condition says Infeasible, whatever the
//     condition's status; PodResizeInProgress and a Deferred resize change nothing;
//   - SkipPodLevelResources false, as PodLevelResources is on (beta since 1.34): spec.resources.requests of CPU, memory
//     and huge pages stand for the containers', also during a resize;
//   - overhead counted.
//
// Fit, which decides whether a new pod has room, takes the same without UseStatusResources: it has no status yet.
func aboutPod(pod *v1.Pod) podAnswer {
	corev1.SetObjectDefaults_Pod(pod)
	seen := asRead(pod)
	info, err := framework.NewPodInfo(seen)
	if err != nil {
		log.Fatalf("the scheduler refuses the pod: %v", err)
	}
	return podAnswer{Stored: pod, Requests: baseUnits(info.CalculateResource().Resource)}
}

// asRead gives the pod as a client reads it. Its quantities are then in canonical form: the scheduler's sum shares
// memory with those that are not (1.5Gi, where 1536Mi is canonical) and adds the overhead to them more than once.
func asRead(pod *v1.Pod) *v1.Pod {
	text, err := json.Marshal(pod)
	if err != nil {
		log.Fatalf("cannot store the pod: %v", err)
	}
	read := new(v1.Pod)
	if err := json.Unmarshal(text, read); err != nil {
		log.Fatalf("cannot read the pod back: %v", err)
	}
	return read
}

// baseUnits gives thousandths of CPUs and devices, and bytes of the rest.
func baseUnits(counted fwk.Resource) map[string]int64 {
	units := map[string]int64{
		string(v1.ResourceCPU):              counted.GetMilliCPU(),
		string(v1.ResourceMemory):           counted.GetMemory(),
		string(v1.ResourceEphemeralStorage): counted.GetEphemeralStorage(),
	}
	for name, whole := range counted.GetScalarResources() {
		units[string(name)] = whole
		if helper.IsExtendedResourceName(name) {
			units[string(name)] = whole * 1000
		}
	}
	return units
}
