// SPDX-License-Identifier: BSD-2-Clause

// podload fills an API server with objects that no kubelet has: Nodes, and running Pods with addresses on them. With --churn it
// then keeps replacing pods at that rate until it is ended.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

const namespace = "load"

var (
	kubeconfig = flag.String("kubeconfig", "", "of an administrator")
	pods       = flag.Int("pods", 5000, "how many")
	nodes      = flag.Int("nodes", 20, "how many they are on, as evenly as can be")
	workers    = flag.Int("workers", 16, "requests at a time")
	remove     = flag.Bool("remove", false, "all that it has made, instead")
	churn      = flag.Int("churn", 0, "pods a second that are replaced, until SIGTERM")
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "podload:", err)
		os.Exit(1)
	}
}

// each calls do(0) ... do(n-1), as many at a time as there are workers.
func each(n int, do func(int)) {
	numbers := make(chan int)
	var group sync.WaitGroup
	for range *workers {
		group.Add(1)
		go func() {
			defer group.Done()
			for i := range numbers {
				do(i)
			}
		}()
	}
	for i := range n {
		numbers <- i
	}
	close(numbers)
	group.Wait()
}

// A range outside that of the cluster's own nodes.
func cidrs(node int) []string {
	return []string{fmt.Sprintf("172.%d.%d.0/24", 16+node/256, node%256), fmt.Sprintf("fd45:0:0:%x::/64", 1+node)}
}

func addresses(pod int) []core.PodIP {
	node, host := pod%*nodes, 2 + pod / *nodes
	return []core.PodIP{
		{IP: fmt.Sprintf("172.%d.%d.%d", 16+node/256, node%256, host)}, {IP: fmt.Sprintf("fd45:0:0:%x::%x", 1+node, host)},
	}
}

type load struct {
	context.Context
	*kubernetes.Clientset
}

func (l load) node(i int) {
	name := fmt.Sprintf("fake-%04d", i)
	node := &core.Node{
		ObjectMeta: meta.ObjectMeta{Name: name, Labels: map[string]string{"fake": "yes", "kubernetes.io/hostname": name}},
		Spec:       core.NodeSpec{Unschedulable: true, PodCIDRs: cidrs(i), PodCIDR: cidrs(i)[0]},
	}
	_, err := l.CoreV1().Nodes().Create(l, node, meta.CreateOptions{})
	must(err)
	// A patch: controllers write to new nodes, too.
	status := fmt.Sprintf(`{"status": {"addresses": [{"type": "InternalIP", "address": "10.11.%d.%d"}]}}`, i/250, 1+i%250)
	_, err = l.CoreV1().Nodes().Patch(l, name, types.MergePatchType, []byte(status), meta.PatchOptions{}, "status")
	must(err)
}

func (l load) pod(i, generation int) {
	no := false
	pod := &core.Pod{
		ObjectMeta: meta.ObjectMeta{
			Name:   fmt.Sprintf("p%05d-%d", i, generation),
			Labels: map[string]string{"app": fmt.Sprintf("a%d", i%50), "pod-template-hash": "5d4f8b7c9"},
		},
		Spec: core.PodSpec{
			NodeName:                     fmt.Sprintf("fake-%04d", i%*nodes),
			AutomountServiceAccountToken: &no,
			// Without it the node controller would evict them from nodes without heartbeats.
			Tolerations: []core.Toleration{{Operator: core.TolerationOpExists}},
			Containers:  []core.Container{{Name: "c", Image: "warren.example/busybox:1"}},
		},
	}
	made, err := l.CoreV1().Pods(namespace).Create(l, pod, meta.CreateOptions{})
	must(err)
	made.Status.Phase = core.PodRunning
	made.Status.PodIPs = addresses(i)
	made.Status.PodIP = made.Status.PodIPs[0].IP
	_, err = l.CoreV1().Pods(namespace).UpdateStatus(l, made, meta.UpdateOptions{})
	must(err)
}

func (l load) replace(i, generation int) {
	now := int64(0) // no kubelet would ever confirm it
	must(l.CoreV1().Pods(namespace).Delete(l, fmt.Sprintf("p%05d-%d", i, generation-1), meta.DeleteOptions{GracePeriodSeconds: &now}))
	l.pod(i, generation)
}

func (l load) prepare() {
	_, err := l.CoreV1().Namespaces().Create(l, &core.Namespace{ObjectMeta: meta.ObjectMeta{Name: namespace}}, meta.CreateOptions{})
	if errors.IsAlreadyExists(err) {
		return
	}
	must(err)
	// Pods are refused before there is a service account.
	accounts, err := l.CoreV1().ServiceAccounts(namespace).Watch(l, meta.ListOptions{FieldSelector: "metadata.name=default"})
	must(err)
	<-accounts.ResultChan()
	accounts.Stop()
}

// Pods at once: no kubelet would ever confirm their end.
func (l load) clear() {
	now := int64(0)
	list, err := l.CoreV1().Pods(namespace).List(l, meta.ListOptions{ResourceVersion: "0"})
	must(err)
	each(len(list.Items), func(i int) {
		err := l.CoreV1().Pods(namespace).Delete(l, list.Items[i].Name, meta.DeleteOptions{GracePeriodSeconds: &now})
		if !errors.IsNotFound(err) { // one that was replaced last
			must(err)
		}
	})
	must(l.CoreV1().Nodes().DeleteCollection(l, meta.DeleteOptions{}, meta.ListOptions{LabelSelector: "fake=yes"}))
	fmt.Printf("%d pods removed\n", len(list.Items))
}

func (l load) run() {
	begin := time.Now()
	each(*nodes, l.node)
	fmt.Printf("%d nodes in %.1f s\n", *nodes, time.Since(begin).Seconds())
	begin = time.Now()
	each(*pods, func(i int) { l.pod(i, 0) })
	fmt.Printf("%d pods in %.1f s\n", *pods, time.Since(begin).Seconds())
	if *churn == 0 {
		return
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	tick := time.NewTicker(time.Second / time.Duration(*churn))
	for i := 0; ; i++ {
		select {
		case <-end:
			fmt.Printf("%d pods replaced\n", i)
			return
		case <-tick.C:
			l.replace(i%*pods, 1 + i / *pods)
		}
	}
}

func main() {
	flag.Parse()
	if *nodes < 1 || *nodes > 4096 || *pods > 250**nodes {
		must(fmt.Errorf("%d pods are too many for %d nodes: 250 each", *pods, *nodes))
	}
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	must(err)
	config.QPS, config.Burst = 100000, 100000
	config.ContentType = "application/vnd.kubernetes.protobuf"
	client, err := kubernetes.NewForConfig(config)
	must(err)
	l := load{context.Background(), client}
	if *remove {
		l.clear()
		return
	}
	l.prepare()
	l.run()
}
