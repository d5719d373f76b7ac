package org.crosslens.server.wire;

import java.util.List;
import java.util.function.Supplier;
import org.elasticsearch.cluster.ClusterState;
import org.elasticsearch.cluster.node.DiscoveryNode;
import org.elasticsearch.gateway.GatewayService;

/** The other nodes of the cluster, as the attribute {@link Wire#ATTRIBUTE} shows their plugins. */
public final class Peers {

    private final Supplier<ClusterState> state;

    /** The nodes in the present {@code state}. */
    public Peers(Supplier<ClusterState> state) {
        this.state = state;
    }

    /** Whether all nodes that hold data read the plugin's numbered messages; one without the plugin refuses them. */
    public boolean allRead() {
        return state.get().nodes().stream().filter(DiscoveryNode::canContainData).allMatch(Peers::reads);
    }

    /** The other nodes whose plugin reads numbered messages. */
    public List<DiscoveryNode> others() {
        String local = state.get().nodes().getLocalNodeId();
        return state.get().nodes().stream().filter(node -> reads(node) && node.getId().equals(local) == false).toList();
    }

    /** Whether this node has joined a cluster that has a master and knows its own state. */
    public boolean areKnown() {
        ClusterState now = state.get();
        return now.nodes().getMasterNode() != null && now.blocks().hasGlobalBlock(GatewayService.STATE_NOT_RECOVERED_BLOCK) == false;
    }

    /** Whether the elected master node's plugin reads numbered messages; without a master, not. */
    public boolean masterReads() {
        DiscoveryNode master = state.get().nodes().getMasterNode();
        return master != null && reads(master);
    }

    private static boolean reads(DiscoveryNode node) {
        return node.getAttributes().containsKey(Wire.ATTRIBUTE);
    }
}
